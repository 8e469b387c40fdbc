"""Work done ahead of its consumer by a few threads, handed over in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")


def computed_ahead(compute: Callable[[A, int], B], items: Iterable[A], workers: int) -> Generator[B, None, None]:
    """compute(item, slot) for each item, in the order of the items.

    One torch thread for each of several batches uses a CPU better than several threads for one batch, and the
    consumer's own work, which torch does not do, costs no idle core. With one worker all is done in the calling thread.

    slot, 0 to `workers`: no two results that are in use at a time have the same one, so a result may stand in memory
    that belongs to its slot. It is good until the next one is asked for.
    """
    if workers == 1:
        yield from (compute(item, 0) for item in items)
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    running: deque[Future[B]] = deque()
    try:
        for number, item in enumerate(items):
            running.append(pool.submit(compute, item, number % (workers + 1)))
            if len(running) > workers:
                yield running[0].result()
                running.popleft()
        while running:
            yield running[0].result()
            running.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the number that threads to come will take over
