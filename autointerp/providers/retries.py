"""Asking again, and how long to wait before."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from autointerp.errors import BadReply, ProviderError, RateLimited, Transient, WaitedTooLong

__all__ = ["Patience", "RetryPolicy", "retried"]

T = TypeVar("T")


@dataclass(slots=True)
class Patience:
    """How long one request may wait, in all, for a server that says "later": for its retries and in pauses.

    Waiting for its turn under the limits that the job itself sets is not counted.
    """

    most_s: float
    spent_s: float = 0.0

    def check(self, wait_s: float, why: object) -> None:
        """Raises WaitedTooLong where waiting so much more, for the reason given, would be too long."""
        if self.spent_s + wait_s > self.most_s:
            raise WaitedTooLong(
                f"waiting {wait_s:.0f} s more, after {self.spent_s:.0f} s, is beyond max_wait_s = {self.most_s:g}: "
                f"allow more, or run the job again later ({why})"
            )

    def spend(self, wait_s: float, why: object) -> None:
        """Takes note of a wait that is about to begin. Raises as `check` does."""
        self.check(wait_s, why)
        self.spent_s += wait_s


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """attempts: calls in all, the first included, but not those that a rate limit refused: a 429 says that the time is
    wrong, not the request, so only `max_wait_s` bounds these. bad_replies: calls in all that may end in a BadReply: a
    proxy's page and a cut answer are over the next time, but a server that answers one prompt so will go on with it,
    and such answers may be billed.

    The n-th wait is 1/2 to 1 times min(most_s, first_s * 2**(n - 1)), or what the server says, however long.
    max_wait_s: of all waits of one request together (see `Patience`).
    """

    attempts: int = 6
    bad_replies: int = 3
    first_s: float = 1.0
    most_s: float = 60.0
    max_wait_s: float = 900.0

    def wait_s(self, failures: int, error: ProviderError, jitter: random.Random) -> float:
        """Seconds to wait after `failures` (1, 2, ...) failed attempts. The server's own word goes before ours."""
        if isinstance(error, Transient) and error.retry_after_s is not None:
            return error.retry_after_s
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30)) * jitter.uniform(0.5, 1.0)


async def retried(
    ask: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    sleep: Callable[[float], Awaitable[object]],
    jitter: Callable[[], random.Random],
    patience: Patience,
) -> T:
    """The result of `ask()`, asked again after each Transient error and BadReply until the attempts are used up.

    jitter: makes what the waits are drawn with, once there is one. Raises the last error when they are, and
    WaitedTooLong where a wait would be more than `patience` has left.
    """
    failures = counted = bad = 0
    draw: random.Random | None = None
    while True:
        try:
            return await ask()
        except (Transient, BadReply) as error:
            failures += 1
            counted += not isinstance(error, RateLimited)
            bad += isinstance(error, BadReply)
            if counted >= policy.attempts or bad >= policy.bad_replies:
                raise
            draw = draw or jitter()
            wait = policy.wait_s(failures, error, draw)
            patience.spend(wait, error)
        await sleep(wait)
