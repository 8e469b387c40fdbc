"""Perl's documentation format (perlpod)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.types import Piece, read_text

_CODE = re.compile(r"([A-Z])<([^<>]*)>")
_WIDE_CODE = re.compile(r"([A-Z])<<+ +(.*?) +>>+", re.DOTALL)
_COMMAND = re.compile(r"^=(\w+)\s*(.*)$", re.DOTALL)
_ESCAPES = {"lt": "<", "gt": ">", "sol": "/", "verbar": "|", "eacute": "é", "amp": "&", "quot": '"'}
# Brackets of E<lt> and E<gt> are put in at the end, lest they look like codes to the passes in between.
_LT, _GT = "\ue000", "\ue001"


def _code(match: re.Match[str]) -> str:
    kind, inner = match.group(1), match.group(2)
    if kind in "XZ":
        return ""
    if kind == "E":
        return {"lt": _LT, "gt": _GT}.get(inner) or _ESCAPES.get(inner, inner)
    if kind == "L":
        return inner.split("|")[0].lstrip("/").strip('"')
    return inner.replace("<", _LT).replace(">", _GT)


def _inline(text: str) -> str:
    text = _WIDE_CODE.sub(_code, text)
    for _ in range(4):  # codes nest; perlpod itself goes no deeper in practice
        text, count = _CODE.subn(_code, text)
        if not count:
            break
    return text.replace(_LT, "<").replace(_GT, ">")


def extract_pod(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """The prose and code of a .pod file, without commands and formatting codes."""
    out: list[str] = []
    skipping = False
    for paragraph in re.split(r"\n\s*\n", read_text(path)):
        command = _COMMAND.match(paragraph.strip("\n"))
        if command is None:
            if not skipping:
                out.append(paragraph if paragraph[:1] in " \t" else _inline(paragraph))
            continue
        kind, rest = command.groups()
        skipping = (skipping or kind in ("begin", "for")) and kind not in ("end",)
        if kind == "for":
            skipping = False
        elif kind.startswith("head") or (kind == "item" and not skipping):
            out.append(_inline(rest))
    yield Piece("", "\n\n".join(p for p in out if p.strip()))
