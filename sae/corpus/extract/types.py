"""What every extractor gives, and the reading of bytes that they share."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a file or of a part of it; `part` tells the parts of one file apart ("" for a whole file)."""

    part: str
    text: str


class Unreadable(Exception):
    """A file is not what its extractor expects. It is left out and counted, and the build goes on."""


def read_bytes(path: Path) -> bytes:
    """The file's bytes, unpacked if it is gzip (dictzip is gzip). Raises Unreadable."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{path.name}: {error}") from error


def decode(data: bytes, name: str) -> str:
    """UTF-8, or Latin-1 where it is not. Raises Unreadable for binary data (a NUL byte)."""
    if b"\0" in data:
        raise Unreadable(f"{name}: binary data")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_text(path: Path) -> str:
    """The text of a file, plain or gzip. Raises Unreadable."""
    return decode(read_bytes(path), path.name)
