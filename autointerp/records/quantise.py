"""Activations as the whole numbers that prompts show. Scores are never computed on them: truth stays raw."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.types import Scale

__all__ = ["quantise"]


def quantise(activations: Any, maximum: float, scale: Scale) -> NDArray[np.int64]:
    """Levels 0 .. `scale.highest` of raw activations (any shape), by equal parts of [0, maximum].

    maximum: the largest activation of the EXPLAIN split (`ExplainSplit.maximum`), raw and above 0. Records of another
    split can exceed it; they get the highest level. Negative activations are at rest: level 0.

    LEVELS_10: min(10, floor(10 * relu(x) / maximum)), so that only the maximum itself is a 10 (LMEN, code).
    LEVELS_9: min(9, floor(10 * relu(x) / maximum)): ten equal bins, numbered 0 to 9 inclusive (TM, "Automated
    interpretability", gives the ten levels and not their edges).

    Raises ValueError for the raw scale, for a maximum that is not a positive finite number (a unit that is silent in
    its explain split has no levels) and for activations that are not finite.
    """
    values = np.asarray(activations, dtype=np.float64)
    if not (np.isfinite(maximum) and maximum > 0):
        raise ValueError(f"levels need a positive maximum, not {maximum}")
    if not np.isfinite(values).all():
        raise ValueError("activations must be finite numbers")
    # The order of operations is that of the published code: 10 * x / max and x / max * 10 differ in the last bit.
    levels = np.floor(10 * np.maximum(values, 0.0) / maximum)
    return np.minimum(levels, scale.highest).astype(np.int64)
