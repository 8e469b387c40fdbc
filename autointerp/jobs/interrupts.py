"""Ctrl-C while a job is being brought to its end."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["interrupts"]


@contextmanager
def interrupts() -> Iterator[asyncio.Event]:
    """Within the block a Ctrl-C sets this event, and does nothing else.

    An exception raised wherever the program happens to be, as is Python's way, could end up in a clean-up that waits.
    Where the loop does not run in the main thread no signal arrives, and the event stays unset.
    """
    event = asyncio.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, event.set)
    try:
        yield event
    finally:
        loop.remove_signal_handler(signal.SIGINT)
