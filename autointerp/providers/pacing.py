"""When a call may be made: requests and tokens per minute, calls open at once, and pauses, for one account.

Calls stand in one line, first come first served; the first of the line alone watches the limits:

    1. the account is not paused: a rate limit stops everyone until the time that the server names, and where it names
       none for 1, 2, 4, ... 60 s, the longer the more refusals came in a row;
    2. a place is free (`AdaptiveConcurrency`);
    3. its tokens fit into the minute (`TokenWindow`);
    4. its request does (asyncio-throttle, which counts a request the moment it lets it through: so this comes last, and
       what is let through is sent at once).

Nothing is taken before all four agree, so whoever is cancelled while waiting has nothing to give back, and nobody holds
one thing while waiting for another. A large call is not overtaken by small ones, so none waits for ever.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from asyncio_throttle.throttler import Throttler

from autointerp.errors import BadJob, ProviderError, RateLimited, Transient
from autointerp.protocols import Provider
from autointerp.providers.concurrency import AdaptiveConcurrency, Latencies
from autointerp.providers.retries import Patience
from autointerp.providers.token_window import MINUTE_S, Reservation, TokenWindow
from autointerp.types import Usage

__all__ = ["Accounts", "Limits", "PacedCall", "Pacing"]

_POLL_S = 0.05  # asyncio-throttle looks again so often; only the first of the line does
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may do; None: no limit is known. concurrency: calls open at once, at most; see `Pacing`.

    min_concurrency: what concurrency never adapts below. Raises ValueError for a limit below 1, and where the least is
    above the most.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int = 8
    min_concurrency: int = 1

    def __post_init__(self) -> None:
        given = (self.requests_per_minute, self.tokens_per_minute, self.min_concurrency)
        if any(limit is not None and limit < 1 for limit in given) or self.min_concurrency > self.concurrency:
            raise ValueError(f"limits are at least 1, and min_concurrency is at most concurrency: {self}")


class Pacing:
    """One account's limits. Models that share an account share one of these; see the module for the rules.

    In any minute no more requests begin than `requests_per_minute`, and their tokens are no more than
    `tokens_per_minute` where estimates are not too low (see `TokenWindow`, also for a call larger than a whole minute).
    clock: seconds that never go back, asyncio-throttle's own by default; the time of day plays no part. sleep: how to
    wait. One event loop's.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.limits = limits or Limits()
        self._clock = clock
        self._sleep = sleep
        self._line = asyncio.Lock()
        self._changed = asyncio.Event()
        self._pause = _Pause()
        self._concurrency = AdaptiveConcurrency(self.limits.concurrency, self.limits.min_concurrency)
        self._latencies = Latencies()
        self._tokens = TokenWindow(self.limits.tokens_per_minute, clock)
        self._request = _requests(self.limits.requests_per_minute)

    @property
    def paused_s(self) -> float:
        """Seconds until the account's pause is over; 0.0 where there is none."""
        return max(0.0, self._pause.until - self._clock())

    @property
    def open(self) -> int:
        """Calls made and not yet ended."""
        return self._concurrency.open

    @property
    def concurrency(self) -> int:
        """How many calls may be open at once now."""
        return self._concurrency.width

    @property
    def reserved_tokens(self) -> int:
        """Estimated tokens of the open calls."""
        return self._tokens.reserved

    async def begin(self, tokens: int, patience: Patience, sort: Hashable = None) -> PacedCall:
        """Waits until a call of so many tokens (an estimate) may be made, and counts it: make it at once, in `with`.

        patience: pays for the time the account is paused, not for other waits. sort: calls of one sort and about one
        size are expected to take about as long. Raises WaitedTooLong, at once where the pause is known to be too long.
        """
        paused_before = self._pause.total_s(self._clock())
        async with self._line:
            while True:
                while wait := self._wait_s(tokens):
                    if self.paused_s:
                        paused = self._pause.total_s(self._clock()) - paused_before
                        patience.check(paused + self.paused_s, "the account is paused by a rate limit")
                    await self._change(wait)
                if self._request:
                    await self._request()
                if not self._wait_s(tokens):  # else a pause began while the throttler waited
                    break
        patience.spent_s += self._pause.total_s(self._clock()) - paused_before
        sort = (sort, tokens.bit_length())
        number, reservation = self._concurrency.begin(), self._tokens.reserve(tokens)
        return PacedCall(self, number, reservation, sort, self._clock())

    def _wait_s(self, tokens: int) -> float:
        """Seconds until it is worth looking again, infinite for "when a call has ended"; 0.0: the call may be made."""
        if self.paused_s:
            return self.paused_s
        return self._tokens.wait_s(tokens) if self._concurrency.free else math.inf

    async def _change(self, wait_s: float) -> None:
        """Until a call has ended, or so many seconds are over."""
        self._changed.clear()
        if math.isinf(wait_s):
            await self._changed.wait()
            return
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(wait) for wait in (self._changed.wait(), self._sleep(wait_s))
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _ended(self, call: PacedCall, used: int | None) -> None:
        self._concurrency.end(call.number)
        self._tokens.settle(call.reservation, used)
        self._changed.set()

    def _answered(self, call: PacedCall) -> None:
        slow = self._latencies.inflated(call.sort, self._clock() - call.began_at)
        self._concurrency.answered(call.number, slow=slow)

    def _replied(self, call: PacedCall) -> None:
        self._concurrency.answered(call.number, slow=False)

    def _failed(self, call: PacedCall, error: Transient) -> None:
        """Fewer calls at once, and a pause for everyone, as the error asks for it."""
        if isinstance(error, RateLimited):
            self._concurrency.refused(call.number)
        elif error.overloaded:
            self._concurrency.overloaded(call.number)
        wait = error.retry_after_s
        if wait is None and isinstance(error, RateLimited) and self._concurrency.refusals:
            wait = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._concurrency.refusals - 1, 30))
        if wait is not None:
            self._pause.extend(self._clock(), wait)


class PacedCall:
    """One open call. Use as `with call:` around it, and say inside what became of it, by `answered` or `failed`.

    Of a call of which nothing is said (it was cancelled) the place is given back; its tokens, which the server may have
    counted, stay for their minute.
    """

    def __init__(self, pacing: Pacing, number: int, reservation: Reservation, sort: Hashable, began_at: float) -> None:
        self.number = number
        self.reservation = reservation
        self.sort = sort
        self.began_at = began_at
        self._pacing = pacing
        self._told = False

    def __enter__(self) -> PacedCall:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._told:
            self._tell(None)

    def answered(self, usage: Usage) -> None:
        """It was answered, and counted as so many tokens. Zeros are of a server that does not count: unknown."""
        self._tell(usage.prompt_tokens + usage.completion_tokens or None)
        self._pacing._answered(self)

    def failed(self, error: ProviderError) -> None:
        """It ended in an error. One of the rate limit gives its tokens back; of others nobody knows."""
        self._tell(0 if isinstance(error, RateLimited) else None)
        if isinstance(error, Transient):
            self._pacing._failed(self, error)
        else:
            self._pacing._replied(self)  # whatever it said

    def _tell(self, used: int | None) -> None:
        self._told = True
        self._pacing._ended(self, used)


def _requests(per_minute: int | None) -> Callable[[], Awaitable[object]] | None:
    """Waits until one more request may be made, and counts it."""
    return Throttler(per_minute, period=MINUTE_S, retry_interval=_POLL_S).acquire if per_minute else None


@dataclass(slots=True)
class _Pause:
    """A stretch of time in which nothing is asked, and how long all of them were. Times of the pacing's clock."""

    since: float = 0.0
    until: float = -math.inf
    before_s: float = 0.0

    def total_s(self, now: float) -> float:
        return self.before_s + max(0.0, min(now, self.until) - self.since)

    def extend(self, now: float, seconds: float) -> None:
        if now >= self.until:
            self.before_s, self.since = self.total_s(now), now
        self.until = max(self.until, now + seconds)


@runtime_checkable
class HasAccount(Protocol):
    """A provider that can say whose limits it is under; another is taken to be under those of its name."""

    @property
    def account(self) -> str: ...


class Accounts:
    """The pacing of every account of a run."""

    def __init__(self) -> None:
        self._pacings: dict[str, Pacing] = {}

    def pacing(self, provider: Provider, limits: Limits) -> Pacing:
        """The one of the provider's account. Raises BadJob where another model of it was given other limits."""
        account = provider.account if isinstance(provider, HasAccount) else provider.name
        found = self._pacings.setdefault(account, Pacing(limits))
        if found.limits != limits:
            raise BadJob(f"models of one account ({account}) share its limits: give them the same numbers")
        return found
