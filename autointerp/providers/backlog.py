"""Answers that are paid and not recorded yet: few, whatever the ledger does.

A call is over for the server when it has answered, so others may be made while its answer goes to the disk. Where the
disk stalls, or another process holds the ledger, that would go on, and everything that was asked meanwhile would be
lost if the ledger cannot be written in the end.
"""

from __future__ import annotations

import asyncio

from autointerp.errors import LedgerError

__all__ = ["Backlog"]


class Backlog:
    """Use `with backlog:` around recording one answer, and `await backlog.room()` before a call is sent.

    most: answers that wait to be recorded while others are asked for. One event loop's.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._failure: LedgerError | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def room(self) -> None:
        """Until fewer than `most` wait. Raises LedgerError once one could not be recorded: nothing more is asked."""
        while self._failure is None and self._size >= self._most:
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change
        if self._failure is not None:
            raise LedgerError(str(self._failure)) from self._failure

    def __enter__(self) -> None:
        self._size += 1

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._size -= 1
        if isinstance(error, LedgerError):
            self._failure = error
        for change in self._waiting:
            if not change.done():
                change.set_result(None)
        self._waiting.clear()
