"""Entries in the order of their keys, without holding them in memory: an external merge sort.

Entries are held until they fill a few megabytes, then sorted and written as a run to a temporary file. `FAN_IN` runs
are merged into one of the next level as soon as there are so many, so that memory does not grow with the number of
entries, and the number of open files only with its logarithm. The files lie in the folder that is given, not where the
system keeps temporary files, which is often memory. They have no name, so that nothing of them is left behind, however
the process ends.
"""

from __future__ import annotations

import heapq
import marshal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TypeAlias

__all__ = ["Entry", "Spool"]

Entry: TypeAlias = tuple[tuple[str | bool, ...], bytes]
"""A key, compared part by part, and what it stands for; entries of one key are ordered by their bytes."""

FAN_IN = 16
_HELD_BYTES = 8 << 20
_BLOCK_BYTES = 64 << 10  # read at once of each run
_ENTRY_BYTES = 500  # of a key and its containers, about


class Spool:
    """Collects entries in any order, and gives them back in order, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[Entry] = []
        self._size = 0
        self._levels: list[list[IO[bytes]]] = [[]]

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forgets everything and frees the disk."""
        self._held = []
        for level in self._levels:
            while level:
                level.pop().close()

    def add(self, key: tuple[str | bool, ...], body: bytes) -> None:
        """Keeps an entry. Raises OSError where the disk is full."""
        self._held.append((key, body))
        self._size += len(body) + _ENTRY_BYTES
        if self._size >= _HELD_BYTES:
            self._spill()

    def in_order(self) -> Iterator[Entry]:
        """Every entry, by key and then by bytes."""
        self._held.sort()
        yield from heapq.merge(self._held, *(_entries(run) for level in self._levels for run in level))

    def _spill(self) -> None:
        self._held.sort()
        self._levels[0].append(self._written(self._held))
        self._held, self._size = [], 0
        for number, level in enumerate(self._levels):
            if len(level) < FAN_IN:
                return
            if number + 1 == len(self._levels):
                self._levels.append([])
            self._levels[number + 1].append(self._written(heapq.merge(*map(_entries, level))))
            while level:
                level.pop().close()

    def _written(self, entries: Iterable[Entry]) -> IO[bytes]:
        run = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (it stays open until it is merged)
        try:
            for block in _blocks(entries):
                marshalled = marshal.dumps(block)
                run.write(len(marshalled).to_bytes(8, "little") + marshalled)
            run.flush()
        except BaseException:
            run.close()
            raise
        return run


def _blocks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    block: list[Entry] = []
    size = 0
    for entry in entries:
        block.append(entry)
        size += len(entry[1]) + _ENTRY_BYTES
        if size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _entries(run: IO[bytes]) -> Iterator[Entry]:
    run.seek(0)
    while length := run.read(8):
        yield from marshal.loads(run.read(int.from_bytes(length, "little")))
