"""Batches: nobody is left waiting, whatever the work or the others do, and what waits goes together."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from autointerp.providers.gathering import Gathered


async def test_everybody_gets_their_own_result_and_few_batches_are_made() -> None:
    batches: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        batches.append(items)
        time.sleep(0.01)
        return [item * 10 for item in items]

    gathered = Gathered(work, "test")
    assert await asyncio.gather(*map(gathered, range(50))) == [10 * item for item in range(50)]
    assert [item for batch in batches for item in batch] == list(range(50))
    assert len(batches) <= 2
    assert await gathered(7) == 70
    await gathered.finish()


async def test_one_batch_at_a_time_in_one_thread() -> None:
    threads, running = set(), threading.Lock()

    def work(items: list[int]) -> list[int]:
        threads.add(threading.get_ident())
        assert running.acquire(blocking=False)
        time.sleep(0.001)
        running.release()
        return items

    gathered = Gathered(work, "test")

    async def several(first: int) -> None:
        for item in range(first, first + 20):
            assert await gathered(item) == item

    await asyncio.gather(*(several(100 * caller) for caller in range(5)))
    await gathered.finish()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_an_error_reaches_everybody_of_its_batch_and_nobody_else() -> None:
    def work(items: list[int]) -> list[int]:
        if 3 in items:
            raise OSError("full")
        return items

    gathered = Gathered(work, "test")
    results = await asyncio.gather(*map(gathered, range(5)), return_exceptions=True)
    assert all(isinstance(one, OSError) for one in results)
    assert await gathered(9) == 9
    await gathered.finish()


async def test_a_caller_that_is_cancelled_takes_nothing_from_the_others() -> None:
    gathered = Gathered(lambda items: (time.sleep(0.02), items)[1], "test")
    callers = [asyncio.ensure_future(gathered(item)) for item in range(4)]
    await asyncio.sleep(0.005)
    callers[1].cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [results[0], results[2], results[3]] == [0, 2, 3]
    assert isinstance(results[1], asyncio.CancelledError)
    await gathered.finish()


@pytest.mark.parametrize("turns", [0, 1, 20])
async def test_finish_waits_for_what_has_begun_and_for_what_is_about_to(turns: int) -> None:
    done: list[int] = []
    gathered = Gathered(lambda items: (time.sleep(0.01), done.extend(items), items)[2], "test")
    callers = [asyncio.ensure_future(gathered(item)) for item in range(3)]
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    later = asyncio.ensure_future(gathered(3))
    await asyncio.sleep(0)
    await gathered.finish()
    assert sorted(done) == [0, 1, 2, 3]
    assert await asyncio.gather(*callers, later) == [0, 1, 2, 3]
