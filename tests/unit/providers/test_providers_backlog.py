"""A ledger that stalls or fails: few answers wait for it, and what is asked meanwhile is not more and more."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from provider_samples import chat_reply, chat_request

from autointerp.errors import LedgerError
from autointerp.protocols import Reply, Request
from autointerp.providers import Ledger, LedgeredModel, Limits, Pacing, ScriptedProvider
from autointerp.providers.backlog import Backlog


async def test_no_more_wait_than_may_and_room_comes_when_one_is_recorded() -> None:
    backlog = Backlog(2)
    await backlog.room()
    with backlog:
        await backlog.room()
        with backlog:
            waiting = [asyncio.ensure_future(backlog.room()) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert not any(one.done() for one in waiting)
        await asyncio.gather(*waiting)


async def test_once_one_could_not_be_recorded_there_is_no_room_any_more() -> None:
    backlog = Backlog(1)
    go = asyncio.Event()

    async def fail() -> None:
        with backlog:
            await go.wait()
            raise LedgerError("full")

    failing = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    waiting = [asyncio.ensure_future(backlog.room()) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()
    ends = await asyncio.gather(failing, *waiting, return_exceptions=True)
    assert [str(end) for end in ends] == ["full"] * 3
    with backlog:  # one that was open is recorded after all: the run ends all the same
        pass
    with pytest.raises(LedgerError, match="full"):
        await backlog.room()


async def test_an_error_that_is_not_the_ledgers_closes_nothing() -> None:
    backlog = Backlog(1)
    with pytest.raises(asyncio.CancelledError), backlog:
        raise asyncio.CancelledError
    await backlog.room()


@pytest.mark.parametrize("held_s", [0.3, 60.0])
async def test_a_model_asks_little_while_its_ledger_is_held(tmp_path: Path, held_s: float) -> None:
    """For less than the wait nothing comes of it; for longer, no more is asked than three times the open calls."""
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        return chat_reply()

    pacing = Pacing(Limits(concurrency=3))
    async with Ledger(tmp_path / "ledger.sqlite", wait_s=1.0) as ledger:
        model = LedgeredModel(ScriptedProvider(answer), "m", ledger, pacing=pacing)
        with closing(sqlite3.connect(ledger.name, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            calls = asyncio.gather(
                *(model.chat(chat_request(str(number))) for number in range(50)), return_exceptions=True
            )
            await asyncio.sleep(0.25)
            assert 3 <= len(asked) <= 9
            if held_s < 1:
                holder.execute("ROLLBACK")
            ends = await calls
        kinds = {type(end) for end in ends}
        if held_s < 1:
            assert (kinds, len(asked), ledger.statistics().answered) == ({tuple}, 50, 50)
        else:
            assert (kinds, ledger.statistics().answered) == ({LedgerError}, 0)
            assert len(asked) <= 9
        await model.finish()
