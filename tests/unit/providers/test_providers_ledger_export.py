"""Exports: equal ledgers give equal bytes, and what is damaged is named by its line."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path

import pytest
from provider_samples import NOON, chat_reply, chat_request, echo_reply, echo_request
from support.ledgers import Place

from autointerp.errors import BadInput, BadReply
from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_export import export_jsonl, import_jsonl


async def fill(ledger: Ledger, order: int = 1) -> None:
    calls = [
        (chat_request("a \ud800 lone surrogate"), chat_reply("an answer\nof two lines")),
        (echo_request(), echo_reply()),
        (chat_request("b"), BadReply("HTML")),
        (chat_request("b"), chat_reply()),
    ]
    for request, outcome in calls[::order]:
        await ledger.record("p", request, outcome, asked_at=NOON, seconds=0.25, cost_usd=0.001)


@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.jsonl.gz"])
async def test_a_round_trip_gives_the_same_bytes_in_whatever_order_the_calls_came(
    tmp_path: Path, place: Place, name: str
) -> None:
    exports = []
    for address, order in ((place.new(), 1), (place.new(), -1), (tmp_path / "file.sqlite", 1)):
        async with Ledger(address) as ledger:
            await fill(ledger, order)
            assert export_jsonl(ledger, tmp_path / name) == 4
            exports.append((tmp_path / name).read_bytes())
    async with Ledger(place.new()) as copy:
        assert import_jsonl(copy, tmp_path / name) == 4
        assert import_jsonl(copy, tmp_path / name) == 0
        assert copy.get(request_key("p", echo_request())) == echo_reply()
        assert copy.verify() == []
        export_jsonl(copy, tmp_path / name)
        exports.append((tmp_path / name).read_bytes())
    assert exports == exports[:1] * 4  # of whatever database
    assert not list(tmp_path.glob("*.tmp"))


async def test_a_known_answer_is_not_replaced_by_an_import(ledger: Ledger, tmp_path: Path) -> None:
    async with Ledger(tmp_path / "other.sqlite") as other:
        await other.record("p", chat_request(), chat_reply("theirs"), asked_at=NOON + timedelta(1), seconds=1)
        export_jsonl(other, tmp_path / "theirs.jsonl")
    await ledger.record("p", chat_request(), chat_reply("ours"), asked_at=NOON, seconds=1)
    assert import_jsonl(ledger, tmp_path / "theirs.jsonl") == 1  # a second payment
    assert ledger.get(request_key("p", chat_request())) == chat_reply("ours")


async def test_a_damaged_export_is_refused_whole_with_the_line(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    async with Ledger(tmp_path / "source.sqlite") as source:
        await fill(source)
        export_jsonl(source, path)
    header, *lines = path.read_text().splitlines()
    changed = json.loads(lines[2])
    changed["request"]["model"] = "another"
    unanswered = {**json.loads(lines[0]), "reply": None}
    for third, complaint in (
        (lines[2][:40], "not a line of a ledger export"),
        (json.dumps(changed), "is not that of the request"),
        (json.dumps({**json.loads(lines[2]), "extra": 1}), "unknown fields"),
        (json.dumps({**json.loads(lines[2]), "seconds": "1"}), "seconds is '1'"),
        (json.dumps({**json.loads(lines[2]), "cost_usd": float("nan")}), "cost_usd is nan"),
        (json.dumps({**json.loads(lines[2]), "prompt_tokens": 2**63}), "prompt_tokens is 9"),
        (json.dumps({**json.loads(lines[2]), "prompt_tokens": 1.5}), r"prompt_tokens is 1\.5"),
        (json.dumps({**json.loads(lines[2]), "error": "a\0"}), "error is 'a"),
        (json.dumps({**json.loads(lines[2]), "asked_at": "2026-01-02"}), "asked_at is '2026"),
        (json.dumps(unanswered), "does not fit"),
        ("[]", "not a line"),
    ):
        path.write_text("\n".join([header, *lines[:2], third, lines[3]]))
        with pytest.raises(BadInput, match=complaint) as caught:
            import_jsonl(ledger, path)
        assert f"{path}:4" in str(caught.value)
        assert ledger.statistics().models == ()


async def test_files_that_are_no_exports(ledger: Ledger, tmp_path: Path) -> None:
    whole = gzip.compress(b'{"format":"autointerp-ledger","version":1}')
    for content, complaint in (
        (b"", "is empty"),
        (b'{"a": 1}\n', "not a ledger export"),
        (b"plain text\n", "not a line"),
        (b'{"format":"autointerp-ledger","version":9}\n', "version 9"),
        (whole[: len(whole) // 2], "cannot be read"),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(BadInput, match=complaint):
            import_jsonl(ledger, tmp_path / "file")
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            import_jsonl(ledger, missing)
    with pytest.raises(BadInput, match="cannot be written"):
        export_jsonl(ledger, tmp_path / "none" / "export.jsonl")
