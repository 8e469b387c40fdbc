"""A request that two processes asked at the same time was paid twice: the ledger counts both, and answers with one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from provider_samples import NOON, chat_reply, chat_request
from support.ledgers import Place

from autointerp.errors import BadReply
from autointerp.protocols import ChatReply, request_key
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_export import export_jsonl, import_jsonl
from autointerp.providers.ledger_statistics import Selection
from autointerp.types import Usage

KEY = request_key("p", chat_request())
LATER = NOON + timedelta(seconds=1)


async def record(ledger: Ledger, words: str, asked_at: Any, cost: float | None, **more: Any) -> str:
    """The text that stands after it."""
    stands = await ledger.record(
        "p", chat_request(), chat_reply(words), asked_at=asked_at, seconds=0.5, cost_usd=cost, **more
    )
    assert isinstance(stands, ChatReply)
    return stands.text


def held(ledger: Ledger) -> list[tuple[str, str]]:
    return [(row["status"], row["asked_at"]) for row in ledger.rows()]


async def paid_twice(address: str) -> None:
    async with Ledger(address) as first, Ledger(address) as second:
        assert await record(first, "first", NOON, 0.25) == "first"
        assert await record(second, "second", LATER, 0.5) == "first"


async def test_both_are_counted_and_the_first_is_found(place: Place) -> None:
    address = place.new()
    await paid_twice(address)
    async with Ledger(address) as ledger:
        assert ledger.get(KEY) == chat_reply("first")
        [model] = ledger.statistics().models
        assert (model.answered, model.failed, model.repeated) == (1, 0, 1)
        assert (model.cost_usd, model.unpriced, model.usage) == (0.75, 0, Usage(6, 4, 2))
        assert ledger.statistics().calls == 2
        assert [row["status"] for row in ledger.rows(KEY)] == ["answered", "repeated"]
        assert "second" in [row["reply"] for row in ledger.rows(KEY)][1]
        assert [reply for _, reply in ledger.sample("p", "m", 9)] == [chat_reply("first")]
        assert ledger.failure(KEY) is None
        assert ledger.verify() == []


async def test_answers_that_are_committed_together_and_a_third_one(ledger: Ledger) -> None:
    times = [NOON + timedelta(seconds=number) for number in range(5)]
    stand = await asyncio.gather(*(record(ledger, str(number), time, None) for number, time in enumerate(times[:4])))
    assert set(stand) == {"0"}
    assert await record(ledger, "4", times[4], 0.5) == "0"
    [model] = ledger.statistics().models
    assert (model.answered, model.repeated, model.unpriced, model.cost_usd) == (1, 4, 4, 0.5)


async def test_a_failure_beside_them_is_kept_as_what_it_is(ledger: Ledger) -> None:
    await record(ledger, "first", NOON, 0.25)
    failing = ledger.record("p", chat_request("x"), BadReply("HTML"), asked_at=NOON, seconds=0.1, cost_usd=0.125)
    _, stands = await asyncio.gather(failing, record(ledger, "second", LATER, 0.5))
    assert stands == "first"
    [model] = ledger.statistics().models
    assert (model.answered, model.failed, model.repeated, model.cost_usd) == (1, 1, 1, 0.875)


async def test_a_batch_that_two_processes_collect_is_paid_once(place: Place) -> None:
    address = place.new()
    async with Ledger(address) as first, Ledger(address) as second:
        await record(first, "of the batch", NOON, 0.25, batch="batch_1")
        await record(second, "of the batch", LATER, 0.25, batch="batch_1")
        assert held(first) == [("answered", NOON.isoformat(timespec="microseconds"))]
        await record(second, "of another", LATER, 0.25, batch="batch_2")
        [model] = first.statistics().models
        assert (model.answered, model.repeated, model.cost_usd) == (1, 1, 0.5)


async def test_an_export_carries_them_to_the_same_bytes_and_statistics(place: Place, tmp_path: Path) -> None:
    address = place.new()
    await paid_twice(address)
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    async with Ledger(address) as ledger, Ledger(place.new()) as copy:
        assert export_jsonl(ledger, first) == 2
        assert import_jsonl(copy, first) == 2
        assert import_jsonl(copy, first) == 0
        assert export_jsonl(copy, second) == 2
        assert copy.statistics() == ledger.statistics()
        assert copy.get(KEY) == chat_reply("first")
        assert copy.verify() == []
    assert first.read_bytes() == second.read_bytes()


async def test_two_ledgers_brought_together_count_each_payment_once(place: Place, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl"
    async with Ledger(place.new()) as one, Ledger(place.new()) as other:
        await record(one, "ours", NOON, 0.25)
        await record(other, "theirs", LATER, 0.5)
        export_jsonl(other, theirs)
        assert import_jsonl(one, theirs) == 1
        assert import_jsonl(one, theirs) == 0
        export_jsonl(one, ours)
        assert import_jsonl(other, ours) == 1  # what is "repeated" there is the answer that stands here
        for ledger, stands in ((one, "ours"), (other, "theirs")):
            assert ledger.get(KEY) == chat_reply(stands)
            assert ledger.statistics().models[0].cost_usd == 0.75
            assert ledger.statistics().calls == 2


async def test_pruning_says_and_deletes_them(place: Place) -> None:
    address = place.new()
    await paid_twice(address)
    async with Ledger(address) as ledger:
        assert ledger.prune(Selection(failed_only=True)).calls == 0
        old = Selection(before=LATER)  # the answer alone
        assert (ledger.prune(old).answered, ledger.statistics().repeated) == (1, 1)
        assert ledger.get(KEY) is None  # which then answers nothing
        assert await record(ledger, "third", LATER + timedelta(seconds=1), 1.0) == "third"
        gone = ledger.prune(Selection(model="m"))
        assert (gone.answered, gone.repeated, gone.models[0].cost_usd) == (1, 1, 1.5)
        assert ledger.statistics().models == ()


@pytest.mark.parametrize("status", ["failed", "odd"])
async def test_a_status_that_does_not_fit_its_reply_is_found(place: Place, status: str) -> None:
    address = place.new()
    await paid_twice(address)
    place.execute(address, f"UPDATE calls SET status = '{status}' WHERE status = 'repeated'")
    async with Ledger(address) as ledger:
        assert ledger.verify() == [f"{KEY}: its status '{status}' does not fit its reply"]
