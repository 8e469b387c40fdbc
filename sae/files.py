"""Whole files or none: atomic writing, JSON as this wing writes it, and the checksums of manifests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypedDict


class FileEntry(TypedDict):
    """What a manifest says of one file."""

    sha256: str
    bytes: int


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A stream beside `path` that is flushed to the disk and takes its name when the block ends well.

    A kill leaves the old file or the new one, never a part.
    """
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: see `whole_file`."""
    with whole_file(path) as stream:
        stream.write(content)


def sync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def render_json(document: Mapping[str, Any], indent: int = 2) -> bytes:
    """The bytes of a JSON document. A value that is not finite is a ValueError."""
    return (json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode()


def file_entry(path: Path) -> FileEntry:
    """Checksum and size of a file."""
    return FileEntry(sha256=checksum(path), bytes=path.stat().st_size)


def checksum(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_entry(content: bytes) -> FileEntry:
    """Checksum and size of a file that holds `content`."""
    return FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
