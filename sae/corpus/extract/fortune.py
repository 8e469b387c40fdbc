"""Fortune files: short quotations parted by a line that holds a percent sign only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.types import Piece, read_text


def extract_fortunes(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """All quotations of a file, a blank line between them."""
    text = read_text(path)
    yield Piece("", "\n\n".join(part.strip("\n") for part in ("\n" + text).split("\n%\n")))
