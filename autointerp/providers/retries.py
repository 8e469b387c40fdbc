"""Asking again, and how long to wait before."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from autointerp.errors import RateLimited, Transient

__all__ = ["RetryPolicy", "retried"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """attempts: calls in all, the first included; the n-th wait is 1/2 to 1 times min(most_s, first_s * 2**(n - 1))."""

    attempts: int = 6
    first_s: float = 1.0
    most_s: float = 60.0

    def wait_s(self, failures: int, error: Transient, jitter: random.Random) -> float:
        """Seconds to wait after `failures` (1, 2, ...) failed attempts. The server's own word goes before ours."""
        if isinstance(error, RateLimited) and error.retry_after_s is not None:
            return error.retry_after_s
        return min(self.most_s, self.first_s * 2.0 ** (failures - 1)) * jitter.uniform(0.5, 1.0)


async def retried(
    ask: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    sleep: Callable[[float], Awaitable[object]],
    jitter: random.Random,
) -> T:
    """The result of `ask()`, asked again after each Transient error until the attempts are used up."""
    failures = 0
    while True:
        try:
            return await ask()
        except Transient as error:
            failures += 1
            if failures >= policy.attempts:
                raise
            await sleep(policy.wait_s(failures, error, jitter))
