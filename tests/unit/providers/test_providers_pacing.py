"""Pacing by hand-computed schedules, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.virtual_time import cancelled_at, now, pacing_of, run_virtually

from autointerp.errors import Authentication, BadReply, RateLimited, Transient, WaitedTooLong
from autointerp.providers.pacing import Limits, Pacing
from autointerp.providers.retries import Patience
from autointerp.types import Usage

POLL_S = 0.1  # asyncio-throttle looks twenty times a second, so its times are a little late, never early


async def call(
    pacing: Pacing,
    tokens: int = 1,
    *,
    takes: float = 0.0,
    used: int = 0,
    error: Any = None,
    max_wait_s: float = 9e9,
) -> float:
    """One call; the time at which it was let through."""
    one = await pacing.begin(tokens, Patience(max_wait_s))
    with one:
        began = now()
        await asyncio.sleep(takes)
        if error is not None:
            one.failed(error)
        else:
            one.answered(Usage(used))
    return began


def schedule(limits: dict[str, int], *calls: dict[str, Any]) -> list[float]:
    """When each of these calls, which all come at time 0 in this order, is let through."""

    async def main() -> list[float]:
        pacing = pacing_of(**limits)
        return await asyncio.gather(*(call(pacing, **one) for one in calls))

    return run_virtually(main)


def test_of_60_requests_a_minute_the_61st_waits_for_the_next_minute() -> None:
    times = schedule({"requests_per_minute": 60, "concurrency": 1000}, *[{}] * 125)
    assert times[:60] == [0.0] * 60
    assert all(60 < time < 60 + POLL_S for time in times[60:120])
    assert all(120 < time < 120 + 2 * POLL_S for time in times[120:])


def test_a_request_waits_for_the_minute_of_the_one_that_is_in_its_way() -> None:
    # One place, calls of 25 s, two a minute: 0, 25, (60 after 0), (60 after 25), ...
    times = schedule({"requests_per_minute": 2, "concurrency": 1}, *[{"takes": 25.0}] * 5)
    assert times == pytest.approx([0, 25, 60, 85, 120], abs=0.3)


def test_without_limits_only_concurrency_holds_a_call_up() -> None:
    assert schedule({"concurrency": 2}, *[{"takes": 3.0, "tokens": 10**9}] * 5) == [0, 0, 3, 3, 6]


def test_tokens_are_reserved_by_the_estimate_and_fall_out_after_a_minute() -> None:
    limits = {"tokens_per_minute": 100, "concurrency": 9}
    # Calls of 90 s that use what was estimated: 40 + 40 fit, the third and fourth follow when the first two are out.
    assert schedule(limits, *[{"tokens": 40, "used": 40, "takes": 90.0}] * 5) == [0, 0, 60, 60, 120]


def test_a_refund_lets_the_next_call_in_when_it_is_known() -> None:
    limits = {"tokens_per_minute": 100, "concurrency": 9}
    first = {"tokens": 90, "used": 50, "takes": 7.0}
    assert schedule(limits, first, {"tokens": 50, "used": 50}, {"tokens": 1}) == [0, 7, 60]
    assert schedule(limits, first, {"tokens": 50, "used": 49}, {"tokens": 1}) == [0, 7, 7]
    # a usage of 0 is of a server that does not count: the estimate stands
    assert schedule(limits, first, {"tokens": 50, "used": 0}, {"tokens": 1}) == [0, 7, 60]


def test_what_was_used_beyond_the_estimate_is_charged_for_a_minute_from_then() -> None:
    limits = {"tokens_per_minute": 100, "concurrency": 9}
    # 20 of 100 are reserved, 150 are used at 10 s: 20 until 60 s, the other 130 until 70 s.
    assert schedule(limits, {"tokens": 20, "used": 150, "takes": 10.0}, {"tokens": 81}) == [0, 70]
    assert schedule(limits, {"tokens": 20, "used": 95, "takes": 10.0}, {"tokens": 81}, {"tokens": 5}) == [0, 70, 70]


def test_a_call_larger_than_a_whole_minute_gets_a_minute_of_its_own() -> None:
    limits = {"tokens_per_minute": 100, "concurrency": 9}
    calls = [{"tokens": 1, "used": 1}, {"tokens": 5000, "used": 100}, {"tokens": 1, "used": 1}]
    assert schedule(limits, *calls) == [0, 60, 120]


def test_a_large_call_is_not_overtaken_by_small_ones() -> None:
    limits = {"tokens_per_minute": 100, "concurrency": 9}
    calls = [{"tokens": 50, "used": 50}, {"tokens": 80, "used": 80}, {"tokens": 1, "used": 1}]
    assert schedule(limits, *calls) == [0, 60, 60]


def test_a_rate_limit_pauses_every_worker_of_the_account_and_one_call_tries_first() -> None:
    async def main() -> tuple[list[float], float]:
        pacing = pacing_of(concurrency=4)
        refused = call(pacing, takes=1.0, error=RateLimited("429", 300.0))
        others = [call(pacing, takes=2.0, used=1) for _ in range(6)]
        times = asyncio.gather(refused, *others)
        await asyncio.sleep(1.5)
        left = pacing.paused_s
        return await times, left

    times, left = run_virtually(main)
    assert left == 299.5
    # Three were open already; the others wait until 301, and behind the first of them, which is answered at 303.
    assert times == [0, 0, 0, 0, 301, 303, 303]


def test_a_longer_pause_goes_before_a_shorter_one() -> None:
    for waits in ((10.0, 40.0), (40.0, 10.0)):
        calls = [{"takes": takes, "error": RateLimited("429", wait)} for takes, wait in zip((0, 0), waits, strict=True)]
        assert schedule({"concurrency": 2}, *calls, {}) == [0, 0, 40]


def test_without_a_word_of_the_server_the_pauses_double_up_to_a_minute_and_begin_anew_after_an_answer() -> None:
    refused, answered = {"error": RateLimited("429")}, {"used": 1}
    calls = [*[refused] * 8, answered, refused, answered]
    assert schedule({"concurrency": 1}, *calls) == [0, 1, 3, 7, 15, 31, 63, 123, 183, 183, 184]


def test_a_burst_of_refusals_counts_once() -> None:
    async def main() -> tuple[int, float]:
        pacing = pacing_of(concurrency=64)
        await asyncio.gather(*(call(pacing, takes=1.0, error=RateLimited("429")) for _ in range(64)))
        return pacing.concurrency, pacing.paused_s

    assert run_virtually(main) == (32, 1.0)


def test_concurrency_is_halved_by_overload_down_to_its_bound_and_grows_by_one_a_round() -> None:
    async def main() -> list[int]:
        pacing = pacing_of(concurrency=8, min_concurrency=3)
        seen = [pacing.concurrency]
        for error in (Transient("503", overloaded=True), Transient("500"), BadReply("HTML")):
            await call(pacing, error=error)
            seen.append(pacing.concurrency)
        for _ in range(3):
            await call(pacing, error=Transient("timeout", overloaded=True))
        seen.append(pacing.concurrency)
        for calls in (3, 4, 5, 20, 20, 20):
            await asyncio.gather(*(call(pacing, takes=1.0, used=1) for _ in range(calls)))
            seen.append(pacing.concurrency)
        return seen

    seen = run_virtually(main)
    assert seen[:5] == [8, 4, 4, 4, 3]
    assert seen[5:8] == [3, 4, 5]  # a round that fills the places adds about one
    assert seen[-1] == 8


def test_inflated_latency_narrows_and_calls_of_another_sort_do_not() -> None:
    async def main() -> list[int]:
        pacing = pacing_of(concurrency=8)
        seen = []
        for tokens, takes in ((100, 2.0), (10_000, 30.0), (100, 2.5), (100, 40.0)):
            for _ in range(4):
                await asyncio.gather(*(call(pacing, tokens, takes=takes, used=1) for _ in range(8)))
            seen.append(pacing.concurrency)
        return seen

    first, longer, again, inflated = run_virtually(main)
    assert (first, longer, again) == (8, 8, 8)
    assert inflated < 8


def test_fast_calls_are_never_inflated() -> None:
    async def main() -> int:
        pacing = pacing_of(concurrency=8)
        for takes in (*[0.001] * 50, *[0.3] * 50):
            await call(pacing, takes=takes, used=1)
        return pacing.concurrency

    assert run_virtually(main) == 8


def test_a_pause_longer_than_a_request_may_wait_is_said_at_once() -> None:
    async def main() -> list[Any]:
        pacing = pacing_of(concurrency=1)
        calls = [
            call(pacing, error=RateLimited("429", 3600.0)),
            call(pacing, max_wait_s=600.0),
            call(pacing, max_wait_s=3600.0),
            call(pacing, max_wait_s=600.0),
        ]

        async def timed(one: Any) -> tuple[Any, float]:
            return (await asyncio.gather(one, return_exceptions=True))[0], now()

        return await asyncio.gather(*map(timed, calls))

    (_, first), (error, at), (began, _), (_, late) = run_virtually(main)
    assert (first, at, began) == (0.0, 0.0, 3600.0)
    assert isinstance(error, WaitedTooLong)
    assert str(error).startswith("waiting 3600 s more, after 0 s, is beyond max_wait_s = 600: allow more, or run the")
    assert late == 3600.0  # it stood behind one who waits, and the pause is over when its turn comes


def test_waiting_for_ones_turn_is_not_counted_as_waiting_for_the_server() -> None:
    limits = {"requests_per_minute": 1, "concurrency": 1}
    times = schedule(limits, *[{"max_wait_s": 0.0, "used": 1}] * 4)
    assert times == pytest.approx([0, 60, 120, 180], abs=0.5)


def test_a_cancelled_waiter_gives_back_all_and_a_cancelled_call_its_place() -> None:
    async def main() -> tuple[list[Any], Pacing]:
        pacing = pacing_of(concurrency=1, tokens_per_minute=100)
        tasks = [
            asyncio.create_task(call(pacing, 60, takes=100.0)),  # cancelled while open: its 60 tokens may be counted
            asyncio.create_task(call(pacing, 100)),  # cancelled as the first of the line
            asyncio.create_task(call(pacing, 100)),  # cancelled as the second
            asyncio.create_task(call(pacing, 40, used=40)),
            asyncio.create_task(call(pacing, 60, used=60)),
        ]
        return await cancelled_at([10.0, 20.0, 5.0, None, None], tasks), pacing

    results, pacing = run_virtually(main)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, True, True, False, False]
    assert results[3:] == [20.0, 60.0]
    assert (pacing.open, pacing.reserved_tokens) == (0, 0)


def test_a_refusal_gives_its_tokens_back_and_a_lost_reply_does_not() -> None:
    limits = {"tokens_per_minute": 100, "concurrency": 1}
    assert schedule(limits, {"tokens": 90, "error": RateLimited("429", 5.0)}, {"tokens": 90}) == [0, 5]
    assert schedule(limits, {"tokens": 90, "error": Transient("cut")}, {"tokens": 90}) == [0, 60]
    assert schedule(limits, {"tokens": 90, "error": Authentication("401")}, {"tokens": 90}) == [0, 60]


@pytest.mark.parametrize(
    "limits",
    [
        {"requests_per_minute": 0},
        {"tokens_per_minute": -1},
        {"min_concurrency": 0},
        {"concurrency": 2, "min_concurrency": 3},
    ],
)
def test_limits_that_would_let_nothing_through(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Limits(**limits)
