"""From simulated levels to activations (LMEN, "calibration"; fitted on the calibrate split only).

A simulator speaks in levels of 0 to 10; the truth has the unit's own scale. The explained shares (`r2_centred`,
`r2_uncentred`, `abs_dev_explained`) compare values and need a calibration; Pearson does not change under a linear one
with a positive slope, and Spearman not under any increasing one. Correlate the uncalibrated values: a fit with a
NEGATIVE slope would turn a prediction that is worse than useless into a good one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from autointerp.stats.series import is_constant, paired
from autointerp.types import FloatArray, Reason, Unscored

__all__ = ["LinearCalibration", "PercentileCalibration", "fit_linear", "fit_percentiles"]


@dataclass(frozen=True, slots=True)
class LinearCalibration:
    """activation = slope x level + intercept."""

    slope: float
    intercept: float

    def apply(self, levels: ArrayLike) -> FloatArray:
        """The activations [n] of levels [n]."""
        return self.slope * np.asarray(levels, dtype=np.float64) + self.intercept


@dataclass(frozen=True, slots=True, eq=False)
class PercentileCalibration:
    """The n-th percentile of the simulated levels becomes the n-th percentile of the true activations.

    levels: [k] distinct, ascending; activations: [k], ascending. Between them linear, beyond them constant.
    """

    levels: FloatArray
    activations: FloatArray

    def apply(self, levels: ArrayLike) -> FloatArray:
        """The activations [n] of levels [n]; an increasing function of them."""
        return np.interp(np.asarray(levels, dtype=np.float64), self.levels, self.activations)


def fit_linear(truth: ArrayLike, prediction: ArrayLike) -> LinearCalibration | Unscored:
    """Least squares of truth [n] on prediction [n], the tokens of the calibrate split.

    Unscored where the prediction is constant or there is no token; a constant truth gives slope 0. Raises ValueError
    for series that differ in length or are not finite.
    """
    pair = paired(truth, prediction)
    if pair.truth.size == 0:
        return Unscored(Reason.UNDEFINED, "no token to calibrate on")
    if is_constant(pair.prediction):
        return Unscored(Reason.CONSTANT_PREDICTION, "a constant prediction cannot be calibrated by a line")
    mean = pair.prediction.mean()
    deviation = pair.prediction - mean
    slope = float(deviation @ pair.truth / (deviation @ deviation))
    return LinearCalibration(slope, float(pair.truth.mean() - slope * mean))


def fit_percentiles(truth: ArrayLike, prediction: ArrayLike) -> PercentileCalibration | Unscored:
    """Percentile matching of prediction [n] to truth [n], the tokens of the calibrate split; Unscored without tokens.

    LMEN's code interpolates between the two sorted lists. A level that occurs many times (0 does) then has many true
    values to choose from, and which one it gets is an accident of the interpolation; here it gets their mean, so that
    the mean of the calibrated predictions is the mean of the truth. Raises ValueError as `fit_linear`.
    """
    pair = paired(truth, prediction)
    if pair.truth.size == 0:
        return Unscored(Reason.UNDEFINED, "no token to calibrate on")
    levels, level_of, count = np.unique(np.sort(pair.prediction), return_inverse=True, return_counts=True)
    return PercentileCalibration(levels, np.bincount(level_of, weights=np.sort(pair.truth)) / count)
