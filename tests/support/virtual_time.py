"""An event loop whose time passes only while nothing can run: an hour of waiting takes no time, and is exact.

Sleeps, locks, timeouts and cancellations are asyncio's own. asyncio-throttle reads `time.monotonic`, so it is given the
loop's time in its place.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

import asyncio_throttle.throttler

from autointerp.errors import ProviderError
from autointerp.protocols import Reply, Request
from autointerp.providers import Limits, Pacing
from autointerp.providers.account import Account

__all__ = ["MemoryLedger", "cancelled_at", "now", "pacing_of", "run_virtually"]

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing but threads and sockets that are ready; otherwise the time of waiting is over at once."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("deadlock: everyone waits for somebody else")
        self.passed += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.passed


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of `main()`, run from time 0. Raises AssertionError where nothing can ever go on."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        clock = SimpleNamespace(monotonic=runner.get_loop().time)
        with mock.patch.object(asyncio_throttle.throttler, "time", clock):
            return runner.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def pacing_of(account: Account | None = None, **limits: int) -> Pacing:
    return Pacing(Limits(**limits), account=account, clock=asyncio.get_running_loop().time)


async def cancelled_at(times: Iterable[float | None], tasks: Iterable[asyncio.Task[Any]]) -> list[Any]:
    """The results, where each task is cancelled at its time (None: never)."""

    async def cancel(task: asyncio.Task[Any], at: float) -> None:
        await asyncio.sleep(at)
        task.cancel()

    tasks = list(tasks)
    ends = [asyncio.create_task(cancel(task, at)) for task, at in zip(tasks, times, strict=True) if at is not None]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*ends)
    return results


class MemoryLedger:
    """What `LedgeredModel` needs of a ledger, without a disk, whose time is not the loop's."""

    name = "memory"

    def __init__(self) -> None:
        self.outcomes: list[Reply | ProviderError] = []

    async def find(self, key: str) -> None:
        return None

    def failure(self, key: str) -> None:
        return None

    async def joined(self, key: str, ask: Callable[[], Awaitable[Reply]]) -> tuple[Reply, bool]:
        return await ask(), True

    async def record(
        self, provider: str, request: Request, outcome: Reply | ProviderError, **_: object
    ) -> Reply | ProviderError:
        self.outcomes.append(outcome)
        return outcome
