"""Plain text, and text under a header between two lines of dashes. Source code is plain text too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.types import Piece, read_text


def extract_text(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """The file as it stands (also gzip and dictzip)."""
    yield Piece("", read_text(path))


def extract_front_matter(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """The text below a front matter (`---` … `---`), or all of it where there is none."""
    text = read_text(path)
    if text.startswith("---\n") and (end := text.find("\n---\n", 3)) >= 0:
        text = text[end + len("\n---\n") :]
    yield Piece("", text)
