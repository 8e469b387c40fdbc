"""Whole files or none: atomic writing, and checksums."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypedDict


class FileEntry(TypedDict):
    """What a manifest says of one file."""

    sha256: str
    bytes: int


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to the disk, then rename: a kill leaves the old file or the new one."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def file_entry(path: Path) -> FileEntry:
    """Checksum and size of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(sha256=digest, bytes=path.stat().st_size)
