"""Cutting a shorter window out of a context, around the token it was recorded for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cut", "cut_many"]


def cut_many(
    focus: NDArray[np.int64], length: NDArray[np.int64], window: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bounds [start, stop) of the windows of at most `window` tokens around each focus.

    focus [n]: position of the token in its context; length [n]: tokens of that context; window: at least 1.

    A window of 9 is the token with four on either side (TM, "Automated interpretability"); an even window has one
    more before the token than after it, as the context store has. At the edge of a context the window is clipped, not
    shifted, so the focus is never anything but the token the record was chosen for. A context that is no longer than
    the window is left whole.

    Raises ValueError where a focus lies outside its context.
    """
    if window < 1:
        raise ValueError(f"a window has at least one token, not {window}")
    if ((focus < 0) | (focus >= length)).any():
        raise ValueError("a focus lies outside its context")
    whole = length <= window
    start = np.where(whole, 0, np.maximum(focus - window // 2, 0))
    stop = np.where(whole, length, np.minimum(focus - window // 2 + window, length))
    return start, stop


def cut(focus: int, length: int, window: int) -> tuple[int, int]:
    """The same for one context: (start, stop)."""
    start, stop = cut_many(np.array([focus]), np.array([length]), window)
    return int(start[0]), int(stop[0])
