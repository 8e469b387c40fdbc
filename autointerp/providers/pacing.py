"""When a call may be made: requests and tokens per minute, calls open at once, and pauses.

Limits belong to a model, as vendors set them: two models of one key have a minute each, with numbers of their own.
What belongs to the key (`Account`) is the server's word to wait, and how many calls are open in all.

Calls of a model stand in one line, first come first served; the first of the line alone watches the limits:

    1. nothing is paused: a server that says how long to wait stops every model of its key until then. A refusal (429)
       without such a word stops its own model for 1, 2, 4, ... 60 s, the longer the more came in a row: that is our
       guess, and the key's other models find out for themselves whether the limit is theirs too;
    2. the model has a place free (`AdaptiveConcurrency`: one that is refused or slow gets fewer, and the others of its
       key do not);
    3. its tokens fit into the model's minute (`TokenWindow`);
    4. its request does (`RequestWindow`);
    5. the account has a place free, and it is this model's turn (`Account`).

Nothing is taken before all five agree, so whoever is cancelled while waiting has nothing to give back, and nobody holds
one thing while waiting for another: a model that waits for its minute keeps no place from the others. A large call is
not overtaken by small ones, and places go round among the models that want one, so no call waits for ever.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from autointerp.errors import BadJob, ProviderError, RateLimited, Transient
from autointerp.protocols import Provider
from autointerp.providers.account import Account
from autointerp.providers.concurrency import AdaptiveConcurrency, Latencies
from autointerp.providers.request_window import RequestWindow
from autointerp.providers.retries import Patience
from autointerp.providers.token_window import Reservation, TokenWindow
from autointerp.types import Usage

__all__ = ["Accounts", "Limits", "PacedCall", "Pacing"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be asked of a model; None: no limit is known. concurrency: calls open at once, at most; see `Pacing`.

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
    """The limits of one model of an account; see the module for the rules.

    In any minute no more requests begin than `requests_per_minute`, and their tokens are no more than
    `tokens_per_minute` where estimates are not too low (see `TokenWindow`, also for a call larger than a whole minute).
    account: shared with the key's other models; None: there are none. clock: seconds that never go back,
    asyncio-throttle's own by default; the time of day plays no part. sleep: how to wait. One event loop's.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        account: Account | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.limits = limits or Limits()
        self._clock = clock
        self._sleep = sleep
        self._line = asyncio.Lock()
        self._account = account or Account()
        self._member = self._account.joined(self.limits.concurrency, clock())
        self._pause, self._changed = self._member.pause, self._member.changed
        self._concurrency = AdaptiveConcurrency(self.limits.concurrency, self.limits.min_concurrency)
        self._latencies = Latencies()
        self._tokens = TokenWindow(self.limits.tokens_per_minute, clock)
        per_minute = self.limits.requests_per_minute
        self._requests = None if per_minute is None else RequestWindow(per_minute)

    @property
    def paused_s(self) -> float:
        """Seconds until the model may be asked again after a server's "later"; 0.0 where it may."""
        return max(0.0, self._pause.until - self._clock())

    @property
    def open(self) -> int:
        """Calls of the model made and not yet ended."""
        return self._concurrency.open

    @property
    def concurrency(self) -> int:
        """How many of them may be open at once now."""
        return self._concurrency.width

    @property
    def reserved_tokens(self) -> int:
        """Estimated tokens of the open calls."""
        return self._tokens.reserved

    async def begin(self, tokens: int, patience: Patience, sort: Hashable = None) -> PacedCall:
        """Waits until a call of so many tokens (an estimate) may be made, and counts it: make it at once, in `with`.

        patience: pays for the time the model is paused, not for other waits. sort: calls of one sort and about one
        size are expected to take about as long. Raises WaitedTooLong, at once where the pause is known to be too long.
        """
        paused_before = self._pause.total_s(self._clock())
        async with self._line:
            try:
                while wait := self._wait_s(tokens):
                    if self.paused_s:
                        paused = self._pause.total_s(self._clock()) - paused_before
                        patience.check(paused + self.paused_s, "paused by a rate limit")
                    await self._change(wait)
                if self._requests is not None:
                    await self._requests.acquire()  # type: ignore[no-untyped-call]
            finally:
                self._account.leave_line(self._member)
        patience.spent_s += self._pause.total_s(self._clock()) - paused_before
        sort = (sort, tokens.bit_length())
        self._account.begin()
        number, reservation = self._concurrency.begin(), self._tokens.reserve(tokens)
        return PacedCall(self, number, reservation, sort, self._clock())

    def _wait_s(self, tokens: int) -> float:
        """Seconds until it is worth looking again, infinite for "when a call has ended"; 0.0: the call may be made."""
        wait = self._own_wait_s(tokens)
        if wait:
            self._account.leave_line(self._member)
            return wait
        return 0.0 if self._account.place_for(self._member) else math.inf

    def _own_wait_s(self, tokens: int) -> float:
        """The same by what is the model's alone."""
        if paused := self.paused_s:
            return paused
        if not self._concurrency.free:
            return math.inf
        return self._tokens.wait_s(tokens) or (self._requests.wait_s(self._clock()) if self._requests else 0.0)

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
        self._account.end()
        self._changed.set()

    def _answered(self, call: PacedCall) -> None:
        slow = self._latencies.inflated(call.sort, self._clock() - call.began_at)
        self._concurrency.answered(call.number, slow=slow)

    def _replied(self, call: PacedCall) -> None:
        self._concurrency.answered(call.number, slow=False)

    def _failed(self, call: PacedCall, error: Transient) -> None:
        """Fewer calls of the model at once, and a pause: the key's where the server asks for it, else the model's."""
        if isinstance(error, RateLimited):
            self._concurrency.refused(call.number)
        elif error.overloaded:
            self._concurrency.overloaded(call.number)
        if error.retry_after_s is not None:
            self._account.pause(self._clock(), error.retry_after_s)
        elif isinstance(error, RateLimited) and (refusals := self._concurrency.refusals):
            wait = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(refusals - 1, 30))
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


@runtime_checkable
class HasAccount(Protocol):
    """A provider that can say whose limits it is under; another is taken to be under those of its name."""

    @property
    def account(self) -> str: ...


class Accounts:
    """The accounts of a run, and the pacing of every model of them."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._pacings: dict[tuple[str, str], Pacing] = {}

    def pacing(self, provider: Provider, model: str, limits: Limits) -> Pacing:
        """The one of a model of the provider's account. Raises BadJob where it was given other limits before."""
        name = provider.account if isinstance(provider, HasAccount) else provider.name
        found = self._pacings.get((name, model))
        if found is None:
            account = self._accounts.setdefault(name, Account())
            found = self._pacings[name, model] = Pacing(limits, account=account)
        if found.limits != limits:
            raise BadJob(f"{model} is named twice with different limits ({name}): give it the same numbers both times")
        return found
