"""Calibrations on generated series: against scikit-learn, by what defines them, and by what must not change them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression
from sklearn.linear_model import LinearRegression

from autointerp.stats import LinearCalibration, PercentileCalibration, fit_linear, fit_percentiles, pearson, r2_centred
from autointerp.types import Reason, Unscored

Series: TypeAlias = NDArray[np.float64]
# A busy machine is no defect.
PROPERTY = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Series, Series]:
    """(truth, levels): activations with zeros; levels with many ties, as a simulator gives them, not all one."""
    both = draw(st.lists(st.tuples(st.integers(-40, 120), st.integers(0, 20)), min_size=2, max_size=15))
    truth, levels = [max(one, 0) / 16 for one, _ in both], [other / 2 for _, other in both]
    assume(len(set(levels)) > 1)
    return np.array(truth), np.array(levels)


slopes = st.sampled_from([-3.0, -0.5, 0.25, 2.0, 10.0])
shifts = st.sampled_from([-7.0, 0.0, 1.5])


def linear(truth: Series, levels: Series) -> LinearCalibration:
    found = fit_linear(truth, levels)
    assert isinstance(found, LinearCalibration)
    return found


def percentiles(truth: Series, levels: Series) -> PercentileCalibration:
    found = fit_percentiles(truth, levels)
    assert isinstance(found, PercentileCalibration)
    return found


@PROPERTY
@given(pairs())
def test_the_line_is_scikit_learns(pair: tuple[Series, Series]) -> None:
    truth, levels = pair
    reference = LinearRegression().fit(levels[:, None], truth)
    found = linear(truth, levels)
    assert found.slope == pytest.approx(reference.coef_[0], abs=1e-9)
    assert found.intercept == pytest.approx(reference.intercept_, abs=1e-9)


@PROPERTY
@given(pairs(), st.sampled_from([-1.0, -1e-3, 1e-3, 1.0]), st.sampled_from([-1.0, 0.0, 1e-3]))
def test_no_other_line_is_nearer(pair: tuple[Series, Series], tilt: float, lift: float) -> None:
    truth, levels = pair
    best = linear(truth, levels)
    other = LinearCalibration(best.slope + tilt, best.intercept + lift)
    nearest, further = (((truth - line.apply(levels)) ** 2).sum() for line in (best, other))
    assert nearest <= further


@PROPERTY
@given(pairs(), slopes, shifts)
def test_the_lines_predictions_do_not_see_the_scale_of_the_levels_and_follow_that_of_the_truth(
    pair: tuple[Series, Series], slope: float, shift: float
) -> None:
    truth, levels = pair
    calibrated = linear(truth, levels).apply(levels)
    rescaled = slope * levels + shift
    assert linear(truth, rescaled).apply(rescaled) == pytest.approx(calibrated, abs=1e-8)
    followed = linear(slope * truth + shift, levels).apply(levels)
    assert followed == pytest.approx(slope * calibrated + shift, abs=1e-8)


@PROPERTY
@given(pairs())
def test_what_a_line_explains_is_the_squared_correlation(pair: tuple[Series, Series]) -> None:
    truth, levels = pair
    assume(len(set(truth)) > 1)
    calibrated = linear(truth, levels).apply(levels)
    r = pearson(truth, levels)
    assert isinstance(r, float)
    assert r2_centred(truth, calibrated) == pytest.approx(r**2, abs=1e-9)
    assert calibrated.mean() == pytest.approx(truth.mean(), abs=1e-9)


@PROPERTY
@given(pairs(), st.integers(0, 2**32))
def test_percentile_matching_sees_only_the_two_distributions(pair: tuple[Series, Series], seed: int) -> None:
    """Which truth stood beside which level plays no part: that is what tells it from a regression."""
    truth, levels = pair
    shuffled = np.random.default_rng(seed).permutation(truth)
    first, second = percentiles(truth, levels), percentiles(shuffled, levels)
    assert first.levels.tolist() == second.levels.tolist() == sorted(set(levels.tolist()))
    assert first.activations.tolist() == second.activations.tolist()


@PROPERTY
@given(pairs())
def test_percentile_matching_by_ranks(pair: tuple[Series, Series]) -> None:
    """A level takes the mean of the truths at the ranks it occupies; the whole keeps mean, order and range."""
    truth, levels = pair
    found = percentiles(truth, levels)
    ordered = np.sort(truth)
    for level in set(levels.tolist()):
        below, upto = int((levels < level).sum()), int((levels <= level).sum())
        assert found.apply([level])[0] == pytest.approx(ordered[below:upto].mean(), abs=1e-9)
    calibrated = found.apply(levels)
    assert calibrated.mean() == pytest.approx(truth.mean(), abs=1e-9)
    assert truth.min() - 1e-9 <= calibrated.min() <= calibrated.max() <= truth.max() + 1e-9
    in_order = calibrated[np.argsort(levels, kind="stable")]
    assert isotonic_regression(in_order) == pytest.approx(in_order, abs=1e-9)  # nothing to mend: it never falls


@PROPERTY
@given(pairs(), st.floats(-100, 100), st.floats(-100, 100))
def test_percentile_matching_increases_between_the_levels_and_stands_still_beyond(
    pair: tuple[Series, Series], one: float, other: float
) -> None:
    truth, levels = pair
    found = percentiles(truth, levels)
    low, high = found.apply(sorted([one, other]))
    assert low <= high + 1e-9
    assert found.apply([levels.min() - 1])[0] == found.activations[0]
    assert found.apply([levels.max() + 1])[0] == found.activations[-1]
    middle = (found.levels[0] + found.levels[1]) / 2
    assert found.apply([middle])[0] == pytest.approx((found.activations[0] + found.activations[1]) / 2, abs=1e-9)


@PROPERTY
@given(pairs())
def test_percentile_matching_does_not_see_an_increasing_change_of_the_levels(pair: tuple[Series, Series]) -> None:
    truth, levels = pair
    changed = levels**3 + levels
    assert percentiles(truth, changed).apply(changed) == pytest.approx(percentiles(truth, levels).apply(levels))


@PROPERTY
@given(st.lists(st.integers(0, 80).map(lambda v: v / 16), min_size=1, max_size=20, unique=True), st.integers(0, 99))
def test_distinct_levels_take_over_the_truths_distribution(values: list[float], seed: int) -> None:
    truth = np.array(values)
    levels = np.random.default_rng(seed).permutation(len(values)).astype(float)
    calibrated = percentiles(truth, levels).apply(levels)
    assert np.sort(calibrated) == pytest.approx(np.sort(truth))
    assert np.argsort(calibrated).tolist() == np.argsort(levels).tolist()


@PROPERTY
@given(pairs(), st.floats(-5, 5))
def test_a_constant_prediction_has_no_line_whatever_the_truth(pair: tuple[Series, Series], level: float) -> None:
    truth, _ = pair
    found = fit_linear(truth, np.full(truth.size, level))
    assert isinstance(found, Unscored)
    assert found.reason is Reason.CONSTANT_PREDICTION
    assert percentiles(truth, np.full(truth.size, level)).apply([level])[0] == pytest.approx(truth.mean())
