"""Free text of a model or a person, such as an explanation, brought onto one line."""

from __future__ import annotations

import re

__all__ = ["one_line"]

_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def one_line(text: str) -> str:
    """`text` with every run of white space and control characters as one space, and lone surrogates as U+FFFD.

    Lone surrogates can come out of JSON replies and cannot be written to any file or request.
    """
    return _SURROGATES.sub("\ufffd", _SPACES.sub(" ", text)).strip()
