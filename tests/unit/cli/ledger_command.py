"""What `autointerp ledger ...` printed (see the fixture `run`), and the document in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

__all__ = ["Run", "document"]

Run = Callable[..., tuple[int, str, str]]


def document(done: tuple[int, str, str]) -> Any:
    """The JSON document of a command that ended well and said nothing else."""
    code, out, complaints = done
    assert (code, complaints) == (0, "")
    return json.loads(out)
