"""What commands print: all of it goes through here, so that no text of a file can act on a terminal."""

from __future__ import annotations

import json
import re
import sys
from typing import Any


def print_json(document: Any) -> None:
    """One JSON document on standard output, in ASCII, so that nothing its strings hold acts on a terminal.

    Half a surrogate pair, which some parsers refuse even as an escape, becomes U+FFFD.
    """
    text = json.dumps(document, ensure_ascii=False, indent=None, allow_nan=False)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    sys.stdout.write(re.sub(r"[^\n -~]", lambda one: json.dumps(one[0])[1:-1], whole) + "\n")


def print_text(text: str) -> None:
    """Lines for a person on standard output, the last one ended."""
    shown = "".join(f"{inert(line)}\n" for line in text.removesuffix("\n").split("\n"))
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(
        shown.encode(encoding, "backslashreplace").decode(encoding)
    )  # what a terminal cannot show, escaped


def complain(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{inert(message)}\n")


def inert(text: str) -> str:
    """One line in which every control, format, direction or unassigned character is an escape (\\n, \\x1b, \\u202e)."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
