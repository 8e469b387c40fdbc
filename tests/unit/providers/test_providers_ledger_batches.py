"""The ledger's batches, in a file and on a server: who may submit what, and ledgers from before there were any."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from provider_samples import NOON, chat_reply, chat_request
from support.ledgers import Place

from autointerp.protocols import request_key
from autointerp.providers.batch import owners
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_export import export_jsonl

REQUESTS = {request_key("p", request): request for request in (chat_request("a"), chat_request("b"), chat_request("c"))}
A, B, C = REQUESTS


async def test_a_request_is_in_one_open_batch_at_a_time(ledger: Ledger) -> None:
    table = ledger.batches
    first = table.register("me", "p", "m", {A: REQUESTS[A], B: REQUESTS[B]})
    assert first.token is not None
    assert (first.elsewhere, first.answered) == ({}, [])
    await ledger.record("p", REQUESTS[C], chat_reply(), asked_at=NOON, seconds=0.1)
    again = table.register("other", "p", "m", REQUESTS)
    assert (again.token, again.elsewhere, again.answered) == (None, {A: first.token, B: first.token}, [C])
    table.finish(first.token)
    assert table.get(first.token) is None
    assert table.register("other", "p", "m", {A: REQUESTS[A]}).token is not None


async def test_an_open_batch_is_found_with_its_requests(ledger: Ledger) -> None:
    table = ledger.batches
    token = table.register("me", "p", "m", REQUESTS).token
    assert token is not None
    assert (table.open("p", "m"), table.open("p", "other"), table.open("q", "m")) == ([token], [], [])
    found = table.get(token)
    assert found is not None
    assert (found.requests, found.vendor_id, found.state, found.owner) == (REQUESTS, None, "intended", "me")
    table.submitted(token, "batch_1")
    found = table.get(token)
    assert found is not None
    assert (found.vendor_id, found.state) == ("batch_1", "submitted")
    assert table.vendor_ids() == {"batch_1"}
    table.finish(token, note="over")
    assert table.open("p", "m") == []
    assert [(row.state, row.requests, row.note) for row in table.rows()] == [("done", 3, "over")]


async def test_one_of_two_who_claim_a_batch_may_submit_it(ledger: Ledger) -> None:
    table = ledger.batches
    token = table.register("dead", "p", "m", REQUESTS).token
    assert token is not None
    seen = table.get(token)
    assert seen is not None
    mine = table.claim(seen, "me")
    assert mine is not None
    assert table.claim(seen, "other") is None
    assert table.claim(mine, "me") is not None  # once more, for another try
    assert table.claim(mine, "other") is None  # which he saw before that
    table.submitted(token, "batch_1")
    seen = table.get(token)
    assert seen is not None
    assert table.claim(seen, "other") is None


def test_whose_claim_is_over() -> None:
    now = datetime.now(UTC)
    mine = owners.joined()
    host, number, _ = mine.rsplit(" ", 2)
    assert int(number) == os.getpid()
    assert not owners.is_over(mine, now)
    assert owners.is_over(mine, now - owners.LEASE - timedelta(seconds=1))
    owners.left(mine)
    assert owners.is_over(mine, now)  # this process gave it up
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not owners.is_over(f"{host} {process.pid} 0", now)
        process.communicate(b"\n")
    assert owners.is_over(f"{host} {process.pid} 0", now)
    assert not owners.is_over(f"another-{host} {process.pid} 0", now)  # nobody here can know
    assert owners.is_over(f"another-{host} {process.pid} 0", now - owners.LEASE - timedelta(seconds=1))


async def test_a_ledger_of_version_1_gets_its_batches_and_keeps_its_calls(place: Place, tmp_path: Path) -> None:
    address = place.new()
    async with Ledger(address) as ledger:
        await ledger.record("p", REQUESTS[A], chat_reply("kept"), asked_at=NOON, seconds=0.1)
        export_jsonl(ledger, tmp_path / "before.jsonl")
    for statement in (
        "DROP TABLE batches",
        "DROP TABLE batch_entries",
        "ALTER TABLE calls DROP COLUMN batch",
        "UPDATE about SET version = 1",
    ):
        place.execute(address, statement)
    for _ in range(2):
        async with Ledger(address, create=False) as ledger:
            assert ledger.get(A) == chat_reply("kept")
            export_jsonl(ledger, tmp_path / "after.jsonl")
        assert (tmp_path / "after.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()
        assert [tuple(row) for row in place.execute(address, "SELECT version FROM about")] == [(2,)]
    async with Ledger(address) as ledger:
        await ledger.record("p", REQUESTS[B], chat_reply(), asked_at=NOON, seconds=0.1, batch="batch_1")
        assert ledger.batches.register("me", "p", "m", {C: REQUESTS[C]}).token is not None
        assert [row["batch"] for row in ledger.rows(B)] == ["batch_1"]
