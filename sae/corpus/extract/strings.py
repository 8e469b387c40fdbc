"""JSON that holds a book: strings in the leaves of nested lists, or a list of words with the verses' starts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sae.corpus.extract.types import Piece, Unreadable, read_text

_TAG = re.compile(r"<[^<>]*>")


def _load(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise Unreadable(f"{path.name}: {error}") from error


def _chapters(node: Any) -> Iterator[list[str]]:
    """The strings of each innermost list, in order."""
    children = list(node.values()) if isinstance(node, dict) else node
    if strings := [s for s in children if isinstance(s, str)]:
        yield strings
    for child in children:
        if isinstance(child, list | dict):
            yield from _chapters(child)


def extract_json_strings(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """The text of nested lists: a paragraph for each innermost list, a line for each string, no HTML tags."""
    tree = _load(path)
    if not isinstance(tree, list | dict):
        raise Unreadable(f"{path.name}: neither a list nor an object")
    yield Piece("", "\n\n".join("\n".join(_TAG.sub("", s).strip() for s in chapter) for chapter in _chapters(tree)))


def extract_json_words(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """Words joined into verses, a line each.

    Options: `words`, the key of the list of words (null for none); `starts`, that of the first word of each verse.
    """
    tree = _load(path)
    try:
        words, starts = tree[options["words"]], tree[options["starts"]]
        bounds = zip(starts, [*starts[1:], len(words)], strict=True)
        verses = [" ".join(word for word in words[a:b] if word is not None) for a, b in bounds]
    except (KeyError, TypeError) as error:
        raise Unreadable(f"{path.name}: no lists of words and starts ({error})") from error
    yield Piece("", "\n".join(verses))
