"""The metrics against scipy and against their own invariances, on generated series."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from autointerp.stats import METRICS, evaluate, is_constant, pearson, spearman

Series: TypeAlias = NDArray[np.float64]
# A busy machine is no defect.
PROPERTY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def short(draw: st.DrawFn, size: int) -> Series:
    """A few values with zeros and ties, which shrink well."""
    values = st.one_of(st.integers(-10, 10).map(float), st.floats(-1e4, 1e4).map(lambda x: round(x, 6)))
    return np.array(draw(st.lists(values, min_size=size, max_size=size)))


@st.composite
def long(draw: st.DrawFn, size: int) -> Series:
    """Many values, as a unit has them: some share of exact zeros, heavy tails, quantised or with all digits."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.exponential(size=size) ** draw(st.sampled_from([1, 2])) * (rng.random(size) < draw(st.floats(0.1, 1)))
    return np.round(values, draw(st.sampled_from([0, 1, 15])))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Series, Series]:
    size = draw(st.integers(3, 6)) if draw(st.booleans()) else draw(st.integers(7, 300))
    series = (short if size < 7 else long)(size)
    truth, prediction = draw(series), draw(series)
    assume(not is_constant(truth) and not is_constant(prediction))
    return truth, prediction


@PROPERTY
@given(pairs())
def test_pearson_is_scipys(pair: tuple[Series, Series]) -> None:
    truth, prediction = pair
    assume(min(np.ptp(truth) / np.abs(truth).max(), np.ptp(prediction) / np.abs(prediction).max()) > 1e-9)
    assert pearson(truth, prediction) == pytest.approx(stats.pearsonr(truth, prediction).statistic, abs=1e-9)


@PROPERTY
@given(pairs())
def test_spearman_is_scipys(pair: tuple[Series, Series]) -> None:
    assert spearman(*pair) == pytest.approx(stats.spearmanr(*pair).statistic, abs=1e-9)


@PROPERTY
@given(pairs(), st.floats(0.01, 100), st.floats(-100, 100))
def test_pearson_does_not_see_an_affine_change_and_sees_its_sign(
    pair: tuple[Series, Series], slope: float, intercept: float
) -> None:
    truth, prediction = pair
    assume(np.ptp(prediction) > 1e-3)
    changed = slope * prediction + intercept
    assert pearson(truth, changed) == pytest.approx(pearson(truth, prediction), abs=1e-7)
    assert pearson(truth, -changed) == pytest.approx(-evaluate_number("pearson", truth, prediction), abs=1e-7)


@PROPERTY
@given(pairs())
def test_spearman_does_not_see_an_increasing_change(pair: tuple[Series, Series]) -> None:
    truth, prediction = pair
    assume(np.diff(np.unique(prediction)).min() > 1e-4)  # so that the change keeps distinct values distinct
    increasing = np.cbrt(prediction) + prediction / 10
    assert spearman(truth, increasing) == pytest.approx(spearman(truth, prediction), abs=1e-12)


@PROPERTY
@given(pairs())
def test_correlations_are_symmetric_and_bounded(pair: tuple[Series, Series]) -> None:
    truth, prediction = pair
    for metric in ("pearson", "spearman"):
        value = evaluate_number(metric, truth, prediction)
        assert value == pytest.approx(evaluate_number(metric, prediction, truth), abs=1e-12)
        assert -1 <= value <= 1


@PROPERTY
@given(pairs())
def test_explained_shares_are_at_most_one(pair: tuple[Series, Series]) -> None:
    truth, prediction = pair
    centred, uncentred = (evaluate_number(m, truth, prediction) for m in ("r2_centred", "r2_uncentred"))
    assert centred <= uncentred + 1e-12  # the mean square is at least the variance
    assert uncentred <= 1


@PROPERTY
@given(pairs(), st.integers(0, 2**32))
def test_an_integer_weight_is_a_repetition(pair: tuple[Series, Series], seed: int) -> None:
    truth, prediction = pair
    times = np.random.default_rng(seed).integers(0, 4, truth.size)
    repeated = np.repeat(truth, times), np.repeat(prediction, times)
    assume(times.sum() > 2 and not is_constant(repeated[0]) and not is_constant(repeated[1]))
    for metric in METRICS:
        assert evaluate(metric, truth, prediction, times) == pytest.approx(
            evaluate(metric, *repeated), rel=1e-9, abs=1e-9
        )


@PROPERTY
@given(pairs(), st.floats(1e-6, 1e6))
def test_only_the_proportions_of_weights_matter(pair: tuple[Series, Series], factor: float) -> None:
    truth, prediction = pair
    weights = np.linspace(1, 2, truth.size)
    for metric in METRICS:
        first = evaluate_number(metric, truth, prediction, weights)
        assert first == pytest.approx(evaluate_number(metric, truth, prediction, factor * weights), rel=1e-9, abs=1e-9)


@PROPERTY
@given(pairs(), st.integers(0, 2**32))
def test_the_order_of_tokens_does_not_matter(pair: tuple[Series, Series], seed: int) -> None:
    truth, prediction = pair
    order = np.random.default_rng(seed).permutation(truth.size)
    for metric in METRICS:
        value = evaluate_number(metric, truth, prediction)
        assert evaluate_number(metric, truth[order], prediction[order]) == pytest.approx(value, rel=1e-9, abs=1e-9)


def evaluate_number(
    metric: str,
    truth: Series,
    prediction: Series,
    weights: Series | None = None,
) -> float:
    value = evaluate(metric, truth, prediction, weights)
    assert isinstance(value, float)
    return value
