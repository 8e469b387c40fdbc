"""From levels to activations: against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from autointerp.stats import (
    LinearCalibration,
    PercentileCalibration,
    fit_linear,
    fit_percentiles,
    pearson,
    r2_centred,
    spearman,
)
from autointerp.types import Reason, Unscored

RNG = np.random.default_rng(0)
LEVELS = np.round(RNG.exponential(3, 200), 1)
TRUTH = np.maximum(0.4 * LEVELS - 0.3 + RNG.normal(size=200), 0)


def linear(truth: object, prediction: object) -> LinearCalibration:
    found = fit_linear(truth, prediction)  # type: ignore[arg-type]
    assert isinstance(found, LinearCalibration)
    return found


def percentiles(truth: object, prediction: object) -> PercentileCalibration:
    found = fit_percentiles(truth, prediction)  # type: ignore[arg-type]
    assert isinstance(found, PercentileCalibration)
    return found


def test_the_line_is_least_squares() -> None:
    found, expected = linear(TRUTH, LEVELS), stats.linregress(LEVELS, TRUTH)
    assert (found.slope, found.intercept) == (pytest.approx(expected.slope), pytest.approx(expected.intercept))
    assert found.apply([0, 2]) == pytest.approx([expected.intercept, expected.intercept + 2 * expected.slope])


def test_a_line_with_positive_slope_leaves_pearson_and_mends_r2() -> None:
    calibrated = linear(TRUTH, LEVELS).apply(LEVELS)
    r = pearson(TRUTH, LEVELS)
    assert isinstance(r, float)
    assert pearson(TRUTH, calibrated) == pytest.approx(r)
    assert r2_centred(TRUTH, calibrated) == pytest.approx(r**2)  # least squares, on the data it was fitted on


def test_a_constant_prediction_has_no_line() -> None:
    found = fit_linear(TRUTH, np.full(200, 3.0))
    assert isinstance(found, Unscored)
    assert found.reason is Reason.CONSTANT_PREDICTION


def test_a_constant_truth_has_a_flat_line() -> None:
    found = linear(np.full(200, 2.0), LEVELS)
    assert (found.slope, found.intercept) == (pytest.approx(0), pytest.approx(2))


def test_percentiles_by_hand() -> None:
    # three zeros share the mean of the three smallest truths
    found = percentiles([5, 1, 0, 2, 9], [0, 3, 0, 0, 7])
    assert found.levels.tolist() == [0, 3, 7]
    assert found.activations.tolist() == [1, 5, 9]
    assert found.apply([-1, 0, 1.5, 5, 99]).tolist() == [1, 1, 3, 7, 9]


def test_percentiles_give_the_truths_distribution_and_keep_the_order() -> None:
    distinct = LEVELS + np.arange(200) * 1e-6
    calibrated = percentiles(TRUTH, distinct).apply(distinct)
    assert np.sort(calibrated) == pytest.approx(np.sort(TRUTH))
    tied = percentiles(TRUTH, LEVELS)
    assert tied.apply(LEVELS).mean() == pytest.approx(TRUTH.mean())
    assert (np.diff(tied.apply(np.linspace(0, 20, 100))) >= 0).all()
    kept = LEVELS[np.unique(LEVELS, return_index=True)[1]]
    assert spearman(np.arange(kept.size), kept) == pytest.approx(1)


def test_nothing_to_fit_on_and_bad_series() -> None:
    for fit in (fit_linear, fit_percentiles):
        found = fit([], [])
        assert isinstance(found, Unscored)
        assert found.reason is Reason.UNDEFINED
        with pytest.raises(ValueError, match="not one each"):
            fit([1.0, 2.0], [1.0])
        with pytest.raises(ValueError, match="finite"):
            fit([1.0, np.nan], [1.0, 2.0])
