"""Models of one key: each has its own minute, the server's word to wait is for all, and places go round."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.virtual_time import cancelled_at, now, pacing_of, run_virtually

from autointerp.errors import BadJob, RateLimited, Transient, WaitedTooLong
from autointerp.providers.account import Account
from autointerp.providers.openai_compatible import OpenAICompatibleProvider
from autointerp.providers.pacing import Accounts, Limits, Pacing
from autointerp.providers.retries import Patience
from autointerp.providers.scripted import ScriptedProvider
from autointerp.types import Usage

LATE_S = 0.1  # asyncio-throttle lets go a little after the minute
SERVER = {"base_url": "http://127.0.0.1:1/v1", "key_variable": "ONE_KEY"}


async def call(pacing: Pacing, tokens: int = 1, *, takes: float = 0.0, error: Any = None, wait_s: float = 9e9) -> float:
    """One call; the time at which it was let through."""
    with await pacing.begin(tokens, Patience(wait_s)) as one:
        began = now()
        await asyncio.sleep(takes)
        if error is None:
            one.answered(Usage(tokens))
        else:
            one.failed(error)
    return began


def two(big: dict[str, int], small: dict[str, int]) -> tuple[Pacing, Pacing]:
    """The pacings of two models of one key."""
    account = Account()
    return pacing_of(account, **big), pacing_of(account, **small)


def test_each_model_runs_at_its_own_rate() -> None:
    async def main() -> tuple[list[float], list[float]]:
        big, small = two({"requests_per_minute": 2, "concurrency": 99}, {"requests_per_minute": 30, "concurrency": 99})
        every = await asyncio.gather(*(call(big) for _ in range(6)), *(call(small) for _ in range(90)))
        return every[:6], every[6:]

    big, small = run_virtually(main)
    for times, per_minute in ((big, 2), (small, 30)):
        for number, time in enumerate(times):
            minute = number // per_minute
            assert 60 * minute <= time <= 60 * minute + minute * LATE_S


def test_tokens_of_one_model_do_not_count_for_the_other() -> None:
    async def main() -> list[float]:
        big, small = two({"tokens_per_minute": 100, "concurrency": 9}, {"tokens_per_minute": 50, "concurrency": 9})
        return await asyncio.gather(call(big, 100), call(small, 50), call(big, 1), call(small, 10), call(big, 99))

    assert run_virtually(main) == [0, 0, 60, 60, 60]


def test_the_servers_word_to_wait_is_for_every_model_of_the_key() -> None:
    async def main() -> list[float]:
        big, small = two({"concurrency": 2}, {"concurrency": 2})
        stranger = pacing_of(concurrency=2)
        refused = call(big, takes=1.0, error=RateLimited("429", 300.0))
        later = [call(small, takes=5.0), call(small, takes=5.0), call(stranger, takes=5.0), call(stranger)]
        asked = asyncio.gather(refused, *later)
        await asyncio.sleep(2.0)
        assert (big.paused_s, small.paused_s, stranger.paused_s) == (299.0, 299.0, 0.0)
        return [*await asked, await call(big), await call(small)]

    # The account has two places: the refused call and the first of the other model take them.
    assert run_virtually(main) == [0, 0, 301, 0, 0, 306, 306]


def test_who_would_wait_too_long_is_told_at_once_whichever_model_was_refused() -> None:
    async def main() -> tuple[Any, float]:
        big, small = two({"concurrency": 9}, {"concurrency": 9, "tokens_per_minute": 10})
        await call(small, 10)
        waits = asyncio.create_task(call(small, 10, wait_s=100.0))  # for its own minute
        await call(big, takes=1.0, error=RateLimited("429", 3600.0))
        return (await asyncio.gather(waits, return_exceptions=True))[0], now()

    error, at = run_virtually(main)
    assert isinstance(error, WaitedTooLong)
    assert at == 1.0


def test_a_model_that_comes_while_the_key_is_paused_is_paused_too() -> None:
    async def main() -> float:
        account = Account()
        await call(pacing_of(account, concurrency=1), error=RateLimited("429", 10.0))
        await asyncio.sleep(4.0)
        return await call(pacing_of(account, concurrency=1))

    assert run_virtually(main) == 10.0


def test_a_refusal_without_a_word_pauses_its_model_alone() -> None:
    """It may be the limit of that model, whose endless refusals would else leave the other a burst a minute."""

    async def main() -> tuple[list[float], int]:
        big, small = two({"concurrency": 4}, {"concurrency": 4})

        async def refused() -> None:
            for _ in range(50):
                await call(big, takes=1.0, error=RateLimited("429"))

        refusing = asyncio.create_task(refused())
        times = [await call(small, takes=1.0) for _ in range(600)]
        refusing.cancel()
        return times, small.concurrency

    times, width = run_virtually(main)
    assert times == [float(second) for second in range(600)]
    assert width == 4  # nor is it narrowed


def test_one_models_overload_does_not_narrow_the_other() -> None:
    async def main() -> tuple[int, int]:
        big, small = two({"concurrency": 8}, {"concurrency": 8})
        await call(big, error=Transient("503", overloaded=True))
        return big.concurrency, small.concurrency

    assert run_virtually(main) == (4, 8)


def test_open_calls_of_all_models_are_as_many_as_one_of_them_may_have() -> None:
    async def main() -> list[float]:
        big, small = two({"concurrency": 1}, {"concurrency": 3})
        return await asyncio.gather(*(call(one, takes=10.0) for one in (big, big, small, small, small, small)))

    # three places: one for the first model, which has no more, two for the other; and again
    assert run_virtually(main) == [0, 10, 0, 0, 10, 10]


def test_a_model_whose_workers_never_rest_keeps_no_place_from_the_other() -> None:
    """Each of its workers begins the next call in the moment in which it ends one."""

    async def main() -> list[float]:
        busy, rare = two({"concurrency": 3}, {"concurrency": 3})

        async def work() -> None:
            for _ in range(100):
                await call(busy, takes=3.0)

        workers = []
        for _ in range(3):
            workers.append(asyncio.create_task(work()))
            await asyncio.sleep(1.0)
        # From 3 s on one of them ends each second; that at 3 s has begun anew before these come.
        times = await asyncio.gather(*(call(rare) for _ in range(4)))
        for worker in workers:
            worker.cancel()
        return times

    assert run_virtually(main) == [4, 5, 6, 7]


def test_a_model_that_waits_for_its_minute_keeps_no_place_from_the_other() -> None:
    async def main() -> list[float]:
        waiting, other = two({"requests_per_minute": 1, "concurrency": 1}, {"concurrency": 1})
        return await asyncio.gather(*(call(waiting) for _ in range(2)), *(call(other, takes=4.0) for _ in range(20)))

    first, second, *others = run_virtually(main)
    assert (first, second) == (0.0, 64.0)  # its minute is over at 60, and the place is free at 64
    assert others == [4.0 * number for number in range(20)]


def test_who_is_cancelled_in_line_for_a_place_leaves_it_to_the_next() -> None:
    async def main() -> tuple[list[Any], int]:
        first, second = two({"concurrency": 1}, {"concurrency": 1})
        tasks = [asyncio.create_task(call(one, takes=10.0)) for one in (first, second, first)]
        return await cancelled_at([None, 10.0, None], tasks), first.open + second.open

    results, left = run_virtually(main)
    assert isinstance(results[1], asyncio.CancelledError)
    assert (results[0], results[2], left) == (0.0, 10.0, 0)


def test_who_leaves_the_line_wakes_those_behind_though_they_looked_before() -> None:
    account = Account()
    first, second = account.joined(1, 0.0), account.joined(1, 0.0)
    account.begin()
    assert not account.place_for(first)
    assert not account.place_for(second)
    account.end()
    second.changed.clear()
    assert not account.place_for(second)  # the place is free, but not its own
    account.leave_line(first)
    assert second.changed.is_set()
    assert account.place_for(second)


def test_a_model_of_an_account_has_one_pacing() -> None:
    accounts, limits = Accounts(), Limits(concurrency=3)
    one, same = OpenAICompatibleProvider(**SERVER, name="a"), OpenAICompatibleProvider(**SERVER, name="b")
    other = OpenAICompatibleProvider(**{**SERVER, "key_variable": "OTHER_KEY"})
    assert accounts.pacing(one, "m", limits) is accounts.pacing(same, "m", limits)
    assert accounts.pacing(one, "m", limits) is not accounts.pacing(one, "n", limits)
    assert accounts.pacing(one, "m", limits) is not accounts.pacing(other, "m", limits)
    scripted = ScriptedProvider({})
    assert accounts.pacing(scripted, "m", limits) is accounts.pacing(ScriptedProvider({}), "m", limits)
    accounts.pacing(same, "k", Limits(concurrency=4))
    with pytest.raises(BadJob, match=r"m is named twice with different limits .*: give it the same numbers both times"):
        accounts.pacing(same, "m", Limits(concurrency=4))


def test_models_of_one_key_are_paused_together_and_those_of_another_are_not() -> None:
    async def main() -> list[bool]:
        accounts = Accounts()
        other_key = OpenAICompatibleProvider(**{**SERVER, "key_variable": "OTHER_KEY"})
        one_key = OpenAICompatibleProvider(**SERVER)
        named = [(one_key, "m"), (one_key, "n"), (other_key, "m")]
        pacings = [accounts.pacing(provider, model, Limits()) for provider, model in named]
        with await pacings[0].begin(1, Patience(0.0)) as refused:
            refused.failed(RateLimited("429", 100.0))
        return [pacing.paused_s > 0 for pacing in pacings]

    assert asyncio.run(main()) == [True, True, False]
