"""What commands share: the --json flag, printing a document, and text that does nothing to a terminal."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

__all__ = ["JsonFlag", "inert", "print_json"]

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def inert(text: str) -> str:
    """One line in which every control, format, direction or unassigned character is an escape (\\n, \\x1b, \\u202e)."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
