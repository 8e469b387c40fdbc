"""How well a prediction matches the truth, token by token: the metrics of simulation scoring.

Every function takes truth [n], prediction [n] and optional weights [n] (how much of the corpus each token stands for;
integer weights mean the same as repeating a token), and gives the number, or an `Unscored` with its reason where the
metric does not exist for these values. It never gives NaN. Bad series raise ValueError (see `series`).

A score of several contexts is computed on all their tokens CONCATENATED (LMEN; TM scores its 540 values the same way).
It is not the mean of one score per context: contexts differ in level, and it is largely the difference between active
and silent contexts that an explanation predicts.

    pearson            weighted Pearson correlation, in [-1, 1]
    spearman           Pearson correlation of mid-ranks, in [-1, 1]; with weights, of weighted mid-ranks
    r2_centred         1 - sum (t - p)^2 / sum (t - mean t)^2, at most 1: the usual coefficient of determination
    r2_uncentred       1 - sum (t - p)^2 / sum t^2, at most 1: what LMEN's code calls "R2"
    abs_dev_explained  1 - sum |t - p| / sum |t|, at most 1 (LMEN)

The last three compare values, not shapes, so they mean something only for predictions on the scale of the truth:
after a calibration (see `calibration`). They exist for a constant prediction, which the correlations do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from autointerp.stats.series import CONSTANT_TOLERANCE, Pair, paired, undefined_correlation
from autointerp.types import FloatArray, Reason, Unscored

__all__ = [
    "METRICS",
    "Value",
    "abs_dev_explained",
    "centred",
    "evaluate",
    "evaluate_pair",
    "midranks",
    "pearson",
    "r2_centred",
    "r2_uncentred",
    "spearman",
]

Value: TypeAlias = float | Unscored


def pearson(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """Pearson correlation over all tokens, weighted where weights are given; Unscored where a series is constant."""
    return evaluate("pearson", truth, prediction, weights)


def spearman(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """Spearman correlation: ties get mid-ranks (88% of a feature's random tokens are ties at zero in TM)."""
    return evaluate("spearman", truth, prediction, weights)


def r2_centred(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """1 - sum w (t - p)^2 / sum w (t - mean t)^2; Unscored where the truth is constant."""
    return evaluate("r2_centred", truth, prediction, weights)


def r2_uncentred(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """1 - sum w (t - p)^2 / sum w t^2 (LMEN's "R2"); Unscored where the truth is zero on every token."""
    return evaluate("r2_uncentred", truth, prediction, weights)


def abs_dev_explained(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """1 - sum w |t - p| / sum w |t| (LMEN); Unscored where the truth is zero on every token."""
    return evaluate("abs_dev_explained", truth, prediction, weights)


def evaluate(metric: str, truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """The metric of that name (one of `METRICS`) on checked series. Raises ValueError for another name."""
    return evaluate_pair(metric, paired(truth, prediction, weights))


def evaluate_pair(metric: str, pair: Pair) -> Value:
    """As `evaluate`, for series that are checked already."""
    if metric not in _METRICS:
        raise ValueError(f"unknown metric {metric!r}: known are {', '.join(METRICS)}")
    value = _METRICS[metric](pair)
    if isinstance(value, Unscored) or math.isfinite(value):
        return value
    return Unscored(Reason.UNDEFINED, f"{metric} is too large to be expressed")


def midranks(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted mid-rank of each value [n]: the weight below it plus half the weight equal to it.

    With weights of 1 this is the usual mid-rank less one half.
    """
    _, inverse = np.unique(values, return_inverse=True)
    tied = np.bincount(inverse, weights=weights)
    ranks: FloatArray = (np.cumsum(tied) - tied / 2)[inverse]
    return ranks


def centred(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Values [n], not constant, less their weighted mean, on a scale where the largest magnitude is 1.

    Scaled before and after centring, so that no square over- or underflows, whatever the unit of the series.
    """
    scaled = values / np.abs(values).max()
    scaled = scaled - np.average(scaled, weights=weights)
    result: FloatArray = scaled / np.abs(scaled).max()
    return result


def _pearson(pair: Pair) -> Value:
    undefined = undefined_correlation(pair)
    return _correlation(pair.truth, pair.prediction, pair.weights) if undefined is None else undefined


def _spearman(pair: Pair) -> Value:
    undefined = undefined_correlation(pair)
    if undefined is not None:
        return undefined
    ranks = [midranks(series, pair.weights) for series in (pair.truth, pair.prediction)]
    return _correlation(ranks[0], ranks[1], pair.weights)


def _r2_centred(pair: Pair) -> Value:
    undefined = undefined_correlation(pair)
    if undefined is not None and undefined.reason is not Reason.CONSTANT_PREDICTION:
        return undefined
    truth, prediction = _same_scale(pair)
    mean = np.average(truth, weights=pair.weights)
    return _one_minus((truth - prediction) ** 2, (truth - mean) ** 2, pair.weights)


def _r2_uncentred(pair: Pair) -> Value:
    truth, prediction = _same_scale(pair)
    return _silent(pair) or _one_minus((truth - prediction) ** 2, truth**2, pair.weights)


def _abs_dev_explained(pair: Pair) -> Value:
    truth, prediction = _same_scale(pair)
    return _silent(pair) or _one_minus(np.abs(truth - prediction), np.abs(truth), pair.weights)


def _silent(pair: Pair) -> Unscored | None:
    if pair.truth.size == 0:
        return Unscored(Reason.UNDEFINED, "no token to score")
    if np.abs(pair.truth).max() <= CONSTANT_TOLERANCE:
        return Unscored(Reason.CONSTANT_TRUTH, "the true activation is 0 on every token")
    return None


def _one_minus(error: FloatArray, spread: FloatArray, weights: FloatArray) -> float:
    below = float(weights @ spread)
    # A spread that underflows beside the error is no denominator; the caller turns this into Unscored.
    return 1 - float(weights @ error) / below if below > 0 else -math.inf


def _correlation(first: FloatArray, second: FloatArray, weights: FloatArray) -> float:
    a, b = centred(first, weights), centred(second, weights)
    product = float(weights @ (a * b)) / math.sqrt(float(weights @ (a * a)) * float(weights @ (b * b)))
    return min(1.0, max(-1.0, product))


def _same_scale(pair: Pair) -> tuple[FloatArray, FloatArray]:
    scale = max(np.abs(pair.truth).max(initial=0), np.abs(pair.prediction).max(initial=0)) or 1.0
    return pair.truth / scale, pair.prediction / scale


_METRICS: dict[str, Callable[[Pair], Value]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "r2_centred": _r2_centred,
    "r2_uncentred": _r2_uncentred,
    "abs_dev_explained": _abs_dev_explained,
}
METRICS: tuple[str, ...] = tuple(_METRICS)
