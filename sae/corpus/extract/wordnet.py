"""WordNet's data files: a synset a line (format: wndb(5WN)); kept are its words and its gloss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.types import Piece, read_text


def _entry(line: str) -> str:
    head, _, gloss = line.partition(" | ")
    columns = head.split()
    count = int(columns[3], 16)  # w_cnt: two hexadecimal digits
    words = [word.split("(")[0].replace("_", " ") for word in columns[4 : 4 + 2 * count : 2]]
    return f"{', '.join(words)}: {gloss.strip()}"


def extract_wordnet(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """`word, word: gloss; "example"` for each synset, ten to a paragraph. The licence's lines begin with two blanks."""
    entries = [_entry(line) for line in read_text(path).splitlines() if line and not line.startswith("  ")]
    yield Piece("", "\n\n".join("\n".join(entries[i : i + 10]) for i in range(0, len(entries), 10)))
