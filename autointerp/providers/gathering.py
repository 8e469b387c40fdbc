"""Work that is cheaper together: what waits while one batch is under way goes as the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Gathered"]

T = TypeVar("T")
R = TypeVar("R")


class Gathered(Generic[T, R]):
    """`await gathered(item)` is the item's part of `work(items)`, for all items that waited, in a thread of its own.

    work: items in the order they came -> a result for each. What it raises is raised to everybody of that batch.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[R]], thread: str) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=thread)
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._rounds: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.create_task(self._work_off())
        return await done

    async def finish(self) -> None:
        """Waits for what is under way and ends the thread."""
        if self._rounds is not None and not self._rounds.done():
            await asyncio.wait([self._rounds])
        self._thread.shutdown()

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            work = loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
            await asyncio.wait([work])
            error = work.exception()  # whatever it is, nobody may be left waiting
            results = [] if error else work.result()
            for number, (_, done) in enumerate(batch):
                if done.done():  # its caller was cancelled
                    continue
                if error is None:
                    done.set_result(results[number])
                else:
                    done.set_exception(error)
