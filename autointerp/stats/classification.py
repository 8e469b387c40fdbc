"""Metrics of a yes/no judgement per context, each under its exact name, and what they are without any insight.

truth: [n] of 0/1 or booleans; predicted: the same; scores: [n] finite numbers, higher = more likely to be positive;
weights: [n] >= 0, how much of the corpus each item stands for. Anything but 0 and 1 as a class raises ValueError: a
reply of 7 or "no" is a parse failure, not a class. Where a metric does not exist the result is Unscored, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autointerp.stats.correlation import Value, midranks
from autointerp.types import FloatArray, Reason, Unscored

__all__ = ["BaseRates", "accuracy", "auprc", "auroc", "balanced_accuracy", "base_rates", "f1"]


@dataclass(frozen=True, slots=True)
class BaseRates:
    """What a judge without insight earns on n items of which `positives` are positive.

    accuracy_of_none, accuracy_of_all: plain accuracy of calling nothing, or everything, positive.
    """

    n: int
    positives: int

    @property
    def accuracy_of_none(self) -> float:
        return 1 - self.positives / self.n

    @property
    def accuracy_of_all(self) -> float:
        return self.positives / self.n

    def accuracy_of_random(self, picks: int) -> float:
        """Expected plain accuracy of calling `picks` items positive at random (SAEB: 4 of 14, 4 positive: 0.592)."""
        if not 0 <= picks <= self.n:
            raise ValueError(f"cannot pick {picks} of {self.n} items")
        hits = picks * self.positives / self.n
        return (hits + (self.n - self.positives) - (picks - hits)) / self.n


def base_rates(truth: ArrayLike) -> BaseRates:
    """The base rates of true classes [n >= 1]; show them beside every plain accuracy."""
    classes = _classes("truth", truth)
    if classes.size == 0:
        raise ValueError("base rates of no items")
    return BaseRates(classes.size, int(classes.sum()))


def accuracy(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """Plain accuracy: the share of items classed rightly, in [0, 1]. Shown only beside its base rates."""
    table = _Confusion.of(truth, predicted, weights)
    return (table.tp + table.tn) / table.total if table.total > 0 else Unscored(Reason.UNDEFINED, "no item to score")


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """Mean of sensitivity and specificity, in [0, 1], chance 0.5; Unscored where the truth has one class only."""
    table = _Confusion.of(truth, predicted, weights)
    return _one_class(table.positive, table.negative) or (table.tp / table.positive + table.tn / table.negative) / 2


def f1(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """2 TP / (2 TP + FP + FN), in [0, 1]; Unscored where nothing is positive, neither in truth nor in prediction."""
    table = _Confusion.of(truth, predicted, weights)
    below = table.positive + table.tp + table.fp
    return (
        2 * table.tp / below if below > 0 else Unscored(Reason.UNDEFINED, "nothing is positive, in truth or prediction")
    )


def auroc(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """Chance that a positive item scores above a negative one, ties counting half; Unscored with one class only."""
    positive, values, weight = _scored(truth, scores, weights)
    up, down = float(weight[positive].sum()), float(weight[~positive].sum())
    undefined = _one_class(up, down)
    if undefined is not None:
        return undefined
    # The weight below each positive, less what other positives contribute to it: those pairs add up to half of up^2.
    below = float(weight[positive] @ midranks(values, weight)[positive]) - up**2 / 2
    return min(1.0, max(0.0, below / (up * down)))


def auprc(truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Value:
    """Average precision: sum over thresholds of precision x the recall gained there, ties entering together.

    In (0, 1]; its value without insight is the share of positives. Unscored where no item is positive.
    """
    positive, values, weight = _scored(truth, scores, weights)
    total = float(weight[positive].sum())
    if total == 0:
        return Unscored(Reason.UNDEFINED, "no item is positive")
    _, level = np.unique(-values, return_inverse=True)
    hits = np.bincount(level, weights=weight * positive)
    everything = np.bincount(level, weights=weight)
    precision = np.cumsum(hits) / np.cumsum(everything)
    return min(1.0, float(precision @ hits) / total)


@dataclass(frozen=True, slots=True)
class _Confusion:
    tp: float
    fp: float
    tn: float
    fn: float

    @classmethod
    def of(cls, truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None) -> _Confusion:
        t, p = _classes("truth", truth), _classes("predicted", predicted)
        w = _weights(weights, t.size)
        if t.shape != p.shape:
            raise ValueError(f"{t.size} true and {p.size} predicted classes: not one each")
        cells = (t & p, ~t & p, ~t & ~p, t & ~p)
        return cls(*(float(w[cell].sum()) for cell in cells))

    @property
    def positive(self) -> float:
        return self.tp + self.fn

    @property
    def negative(self) -> float:
        return self.tn + self.fp

    @property
    def total(self) -> float:
        return self.positive + self.negative


def _one_class(positive: float, negative: float) -> Unscored | None:
    if positive == 0 and negative == 0:
        return Unscored(Reason.UNDEFINED, "no item to score")
    if positive == 0 or negative == 0:
        return Unscored(Reason.CONSTANT_TRUTH, f"every item is truly {'negative' if positive == 0 else 'positive'}")
    return None


def _scored(
    truth: ArrayLike, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.bool_], FloatArray, FloatArray]:
    positive, values = _classes("truth", truth), np.asarray(scores, dtype=np.float64)
    if values.shape != positive.shape or not np.isfinite(values).all():
        raise ValueError(f"{positive.size} items need one finite score each")
    weight = _weights(weights, positive.size)
    kept = weight > 0
    return positive[kept], values[kept], weight[kept]


def _classes(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one series of classes")
    if array.size and (array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all()):
        raise ValueError(f"{name} must hold 0 and 1 only")
    return array.astype(bool)


def _weights(weights: ArrayLike | None, size: int) -> FloatArray:
    if weights is None:
        return np.ones(size)
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (size,) or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{size} items need one finite weight each, not negative")
    return array
