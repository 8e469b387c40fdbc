"""Whatever comes, and whoever is cancelled: limits hold, everyone's turn comes, nothing is left over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.virtual_time import cancelled_at, now, pacing_of, run_virtually

from autointerp.errors import BadReply, RateLimited, Transient
from autointerp.providers.account import Account
from autointerp.providers.retries import Patience
from autointerp.types import Usage

ERRORS = (
    RateLimited("429", 7.0),
    RateLimited("429"),
    Transient("503", 2.0, overloaded=True),
    Transient("timeout", overloaded=True),
    Transient("500"),
    BadReply("HTML"),
)
seconds = st.floats(0, 150, allow_nan=False).map(lambda number: round(number, 2))


@dataclass(frozen=True)
class Call:
    """What a call is and becomes. model: which of two; used: its share of the estimate; stop: when it is cancelled."""

    model: int
    comes: float
    tokens: int
    takes: float
    used: float
    error: Exception | None
    stop: float | None


@dataclass
class Ended:
    """began: when it was let through, None where it never was; used: tokens that a server would have counted."""

    began: float | None = None
    used: int = 0


calls = st.lists(
    st.builds(
        Call,
        model=st.integers(0, 1),
        comes=seconds,
        tokens=st.integers(1, 120),
        takes=seconds,
        used=st.floats(0, 1),
        error=st.one_of(st.none(), st.none(), st.sampled_from(ERRORS)),
        stop=st.one_of(st.none(), seconds),
    ),
    min_size=8,
    max_size=30,
)
limits_of_one = st.fixed_dictionaries(
    {
        "requests_per_minute": st.integers(1, 8),
        "tokens_per_minute": st.integers(60, 300),
        "concurrency": st.integers(1, 6),
    }
)
limits = st.tuples(limits_of_one, limits_of_one)  # of two models of one key


class Models:
    """The pacings of two models of one key."""

    def __init__(self, limits_of_both: tuple[dict[str, int], dict[str, int]]) -> None:
        self.account = Account()
        self.each = [pacing_of(self.account, **limits) for limits in limits_of_both]
        self.most_open = max(limits["concurrency"] for limits in limits_of_both)

    def check(self) -> None:
        for pacing in self.each:
            assert pacing.open <= pacing.limits.concurrency
        assert sum(pacing.open for pacing in self.each) == self.account.open <= self.most_open


async def one(models: Models, call: Call, ended: Ended) -> None:
    await asyncio.sleep(call.comes)
    paced = await models.each[call.model].begin(call.tokens, Patience(9e9))
    with paced:
        ended.began = now()
        ended.used = call.tokens
        models.check()
        await asyncio.sleep(call.takes)
        if call.error is not None:
            paced.failed(call.error)
            ended.used = 0 if isinstance(call.error, RateLimited) else call.tokens
        else:
            ended.used = max(1, int(call.tokens * call.used))
            paced.answered(Usage(ended.used))


def ran(given_calls: list[Call], given_limits: Any) -> tuple[list[Ended], list[Any], Models]:
    ended = [Ended() for _ in given_calls]

    async def main() -> tuple[list[Any], Models]:
        models = Models(given_limits)
        tasks = [asyncio.create_task(one(models, call, end)) for call, end in zip(given_calls, ended, strict=True)]
        return await cancelled_at([call.stop for call in given_calls], tasks), models

    results, models = run_virtually(main)
    return ended, results, models


@given(calls, limits)
@settings(max_examples=75)
def test_limits_hold_in_every_minute_and_everyone_is_served(given_calls: list[Call], given_limits: Any) -> None:
    """Also the absence of deadlocks: virtual time ends with an error where all wait for one another."""
    ended, results, models = ran(given_calls, given_limits)
    for call, end, result in zip(given_calls, ended, results, strict=True):
        if call.stop is None:
            assert result is None
            assert end.began is not None
        else:
            assert result is None or isinstance(result, asyncio.CancelledError)
    for number, its_limits in enumerate(given_limits):
        its_ends = [end for call, end in zip(given_calls, ended, strict=True) if call.model == number]
        begun = [(end.began, end.used) for end in its_ends if end.began is not None]
        for start, _ in begun:
            inside = [used for began, used in begun if start <= began < start + 60]
            assert len(inside) <= its_limits["requests_per_minute"]
            # a call larger than a whole minute has one of its own
            assert sum(inside) <= max(its_limits["tokens_per_minute"], max(inside))
    assert [(pacing.open, pacing.reserved_tokens) for pacing in models.each] == [(0, 0), (0, 0)]
    assert models.account.open == 0


@given(calls, limits)
@settings(max_examples=25)
def test_nobody_is_overtaken_by_a_call_of_the_same_model(given_calls: list[Call], given_limits: Any) -> None:
    ended, _, _ = ran(given_calls, given_limits)
    served = [
        (call.model, call.comes, end.began)
        for call, end in zip(given_calls, ended, strict=True)
        if end.began is not None
    ]
    for model, came, began in served:
        assert all(began <= later for other, comes, later in served if other == model and comes > came)


@given(calls, limits)
@settings(max_examples=25)
def test_a_quiet_time_later_nothing_is_left_of_it(given_calls: list[Call], given_limits: Any) -> None:
    """A whole minute's requests and tokens are let through at once, so nothing that was taken was kept."""

    async def main() -> list[float]:
        models = Models(given_limits)
        tasks = [asyncio.create_task(one(models, call, Ended())) for call in given_calls]
        await cancelled_at([call.stop for call in given_calls], tasks)
        await asyncio.sleep(300)
        start = now()
        fresh = [
            Call(model, 0.0, its["tokens_per_minute"] // its["requests_per_minute"], 0.0, 1.0, None, None)
            for model, its in enumerate(given_limits)
            for _ in range(its["requests_per_minute"])
        ]
        ended = [Ended() for _ in fresh]
        await asyncio.gather(*(one(models, call, end) for call, end in zip(fresh, ended, strict=True)))
        return [end.began - start for end in ended if end.began is not None]

    assert run_virtually(main) == [0.0] * sum(one["requests_per_minute"] for one in given_limits)
