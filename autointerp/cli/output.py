"""What commands share: the --json flag, printing a document or lines, and text that does nothing to a terminal.

Explanations, corpus tokens, names of files and what a server said come from elsewhere; all that a command prints goes
through here, so that none of it can move a cursor, recolour a line or hide one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

__all__ = ["JsonFlag", "complain", "inert", "print_json", "print_result", "print_text", "table"]

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def print_json(document: Any) -> None:
    """One JSON document on standard output, in ASCII, so that nothing its strings hold acts on a terminal.

    Half a surrogate pair, which some parsers refuse even as an escape, becomes U+FFFD.
    """
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    sys.stdout.write(re.sub(r"[^\n -~]", lambda one: json.dumps(one[0])[1:-1], whole) + "\n")


def print_text(text: str) -> None:
    """Lines for a person on standard output, the last one ended."""
    shown = "".join(f"{inert(line)}\n" for line in text.removesuffix("\n").split("\n"))
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(
        shown.encode(encoding, "backslashreplace").decode(encoding)
    )  # what a terminal cannot show, escaped


def print_result(document: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    """The document, or what `text` makes of it for a person."""
    if as_json:
        print_json(document)
    else:
        print_text(text(document))


def table(rows: Sequence[Sequence[str]], *, left: frozenset[int]) -> str:
    """Rows of cells, the first one the header, in columns; those numbered in `left` begin, the others end, in line."""
    shown = [[inert(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in shown
    )
    return "\n".join(line.rstrip() for line in lines)


def complain(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{inert(message)}\n")


def inert(text: str) -> str:
    """One line in which every control, format, direction or unassigned character is an escape (\\n, \\x1b, \\u202e)."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
