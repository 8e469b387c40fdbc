"""Work that is cheaper together: what waits while one batch is under way goes as the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

__all__ = ["Gathered"]

# How often the event loop goes round before a batch begins: at once where nothing else goes on, and where much does,
# what others bring meanwhile goes along. A batch costs a change of threads and back.
_TURNS = 4

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
        self._begun = False  # a batch is under way, or will be as soon as those who run now have run
        self._under_way: asyncio.Future[Sequence[R]] | None = None

    async def __call__(self, item: T) -> R:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, done))
        if not self._begun:
            self._begun = True
            loop.call_soon(self._begin_soon, loop, _TURNS)
        return await done

    async def finish(self) -> None:
        """Waits for what is under way and ends the thread."""
        while self._begun:
            await (asyncio.sleep(0) if self._under_way is None else asyncio.wait([self._under_way]))
        self._thread.shutdown()

    def _begin_soon(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        if turns:
            loop.call_soon(self._begin_soon, loop, turns - 1)
        else:
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting, []
        self._under_way = loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
        self._under_way.add_done_callback(partial(self._ended, loop, [done for _, done in batch]))

    def _ended(
        self, loop: asyncio.AbstractEventLoop, waiting: list[asyncio.Future[R]], work: asyncio.Future[Sequence[R]]
    ) -> None:
        self._under_way, self._begun = None, bool(self._waiting)
        if self._begun:
            self._begin_soon(loop, _TURNS)
        error = work.exception()  # whatever it is, nobody may be left waiting
        results = [] if error else work.result()
        for number, done in enumerate(waiting):
            if done.done():  # its caller was cancelled
                continue
            if error is None:
                done.set_result(results[number])
            else:
                done.set_exception(error)
