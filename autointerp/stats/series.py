"""Paired series as every metric takes them: checked, with weights, and constant or not.

A metric never sees NaN or infinity, series of different lengths or a negative weight: those are mistakes of the caller
and raise ValueError. A series that is constant is not a mistake; it makes a correlation undefined, which the metric
says as an `Unscored`.

When is a series constant? When its range is at most `CONSTANT_TOLERANCE` times the larger of 1 and its largest
magnitude. Rounding in double precision leaves noise of about 1e-16 of the magnitude, so a series that is "0.3 up to
1e-17" or "zero up to 1e-17" is constant here, as it should be: the correlation of such noise is a number without
meaning. On the other side the smallest step of a single-precision activation is 6e-8 of its magnitude, and predictions
lie on a scale of 0 to 10, so every real variation is far above the tolerance. The absolute floor (the 1) means that a
series whose values all lie below 1e-12 is called constant; no activation in this project is that small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from autointerp.types import FloatArray, Reason, Unscored

__all__ = ["CONSTANT_TOLERANCE", "Pair", "is_constant", "paired"]

CONSTANT_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Truth, prediction and weight of the tokens that count, each [n] float64, finite; weights are positive."""

    truth: FloatArray
    prediction: FloatArray
    weights: FloatArray


def is_constant(values: FloatArray) -> bool:
    """True where `values` [n] do not vary beyond rounding (see above), or where there is at most one."""
    if values.size < 2:
        return True
    low, high = float(values.min()), float(values.max())
    return high - low <= CONSTANT_TOLERANCE * max(1.0, abs(low), abs(high))


def paired(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Pair:
    """The tokens that count, as float64. A token of weight 0 does not count: it is left out.

    truth, prediction, weights: [n]; without weights every token has weight 1. Raises ValueError where shapes differ, a
    value is not finite, or a weight is negative.
    """
    first, second = _series("truth", truth), _series("prediction", prediction)
    third = np.ones_like(first) if weights is None else _series("weights", weights)
    if not first.shape == second.shape == third.shape:
        raise ValueError(f"{first.size} true values, {second.size} predictions and {third.size} weights: not one each")
    if weights is None:
        return Pair(first, second, third)
    if (third < 0).any():
        raise ValueError("weights must not be negative")
    kept = third > 0
    return Pair(first[kept], second[kept], third[kept])


def undefined_correlation(pair: Pair) -> Unscored | None:
    """Why no correlation of the pair exists, or None where it does. The truth is named first where both are
    constant."""
    if pair.truth.size == 0:
        return Unscored(Reason.UNDEFINED, "no token to score")
    if is_constant(pair.truth):
        return Unscored(Reason.CONSTANT_TRUTH, f"the true activation is {pair.truth[0]:.6g} on every token")
    if is_constant(pair.prediction):
        return Unscored(Reason.CONSTANT_PREDICTION, f"the prediction is {pair.prediction[0]:.6g} on every token")
    return None


def _series(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one series of numbers, not an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers")
    return array
