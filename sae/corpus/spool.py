"""Texts on disk with a small index in memory: a build sees hundreds of megabytes and holds one document at a time."""

from __future__ import annotations

from array import array
from pathlib import Path
from types import TracebackType


class Spool:
    """An append-only file of UTF-8 texts, read back by number in any order. The file is removed at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._offsets = array("q", [0])

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, text: str) -> int:
        """Store a text; its number. Texts are all stored before the first is read."""
        data = text.encode()
        self._file.write(data)
        self._offsets.append(self._offsets[-1] + len(data))
        return len(self) - 1

    def size(self, number: int) -> int:
        """UTF-8 bytes of a text."""
        return self._offsets[number + 1] - self._offsets[number]

    def read(self, number: int) -> str:
        """The text of a number."""
        self._file.seek(self._offsets[number])
        return self._file.read(self.size(number)).decode("utf-8")
