"""A large JSON file as JSON text: each entry two levels down, indented as a person would write it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.types import Piece, Unreadable, read_text


def extract_json_entries(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """`{"outer": {"inner": …}}` for each inner entry of an object of objects; the file itself where it is none."""
    try:
        tree = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise Unreadable(f"{path.name}: {error}") from error
    if not isinstance(tree, dict):
        yield Piece("", json.dumps(tree, indent=2, ensure_ascii=False))
        return
    for outer, entries in tree.items():
        for inner, entry in entries.items() if isinstance(entries, dict) else [("", entries)]:
            body = {outer: {inner: entry}} if inner else {outer: entry}
            yield Piece(f"{outer}/{inner}", json.dumps(body, indent=2, ensure_ascii=False))
