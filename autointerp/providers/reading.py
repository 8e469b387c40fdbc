"""Reading what a server answered, whichever protocol it speaks. Nothing is taken on trust."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autointerp.errors import BadReply

__all__ = ["count", "json_object"]


def json_object(text: str) -> Mapping[str, Any]:
    """The JSON object that a response is. Raises BadReply where it is none."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise BadReply(f"the server's answer is not JSON: {text[:60]!r}") from None
    if not isinstance(body, Mapping):
        raise BadReply(f"the server's answer is not an object: {text[:60]!r}")
    return body


def count(value: Any) -> int:
    """A number of tokens; 0 for None, which stands for what was not counted. Raises ValueError for anything else."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
