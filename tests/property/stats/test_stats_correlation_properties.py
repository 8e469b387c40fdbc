"""The metrics against scipy and against their own invariances, on generated series."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytest import approx
from scipy import stats

from autointerp.stats import METRICS, evaluate, is_constant, pearson, spearman

# Activations and levels: many exact zeros and ties (quantised values), some with all their digits.
numbers = st.one_of(
    st.integers(-10, 10).map(float),
    st.just(0.0),
    st.floats(-1e4, 1e4, allow_subnormal=False).map(lambda x: round(x, 6)),
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    size = draw(st.integers(3, 60))
    truth, prediction = (np.array(draw(st.lists(numbers, min_size=size, max_size=size))) for _ in range(2))
    assume(not is_constant(truth) and not is_constant(prediction))
    return truth, prediction


@given(pairs())
def test_pearson_is_scipys(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    truth, prediction = pair
    assume(min(np.ptp(truth) / np.abs(truth).max(), np.ptp(prediction) / np.abs(prediction).max()) > 1e-9)
    assert pearson(truth, prediction) == approx(stats.pearsonr(truth, prediction).statistic, abs=1e-9)


@given(pairs())
def test_spearman_is_scipys(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    assert spearman(*pair) == approx(stats.spearmanr(*pair).statistic, abs=1e-9)


@given(pairs(), st.floats(0.01, 100), st.floats(-100, 100))
def test_pearson_does_not_see_an_affine_change_and_sees_its_sign(
    pair: tuple[NDArray[np.float64], NDArray[np.float64]], slope: float, intercept: float
) -> None:
    truth, prediction = pair
    assume(np.ptp(prediction) > 1e-3)
    changed = slope * prediction + intercept
    assert pearson(truth, changed) == approx(pearson(truth, prediction), abs=1e-7)
    assert pearson(truth, -changed) == approx(-evaluate_number("pearson", truth, prediction), abs=1e-7)


@given(pairs())
def test_spearman_does_not_see_an_increasing_change(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    truth, prediction = pair
    assume(np.diff(np.unique(prediction)).min() > 1e-4)  # so that the change keeps distinct values distinct
    increasing = np.cbrt(prediction) + prediction / 10
    assert spearman(truth, increasing) == approx(spearman(truth, prediction), abs=1e-12)


@given(pairs())
def test_correlations_are_symmetric_and_bounded(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    truth, prediction = pair
    for metric in ("pearson", "spearman"):
        value = evaluate_number(metric, truth, prediction)
        assert value == approx(evaluate_number(metric, prediction, truth), abs=1e-12)
        assert -1 <= value <= 1


@given(pairs())
def test_explained_shares_are_at_most_one(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    truth, prediction = pair
    centred, uncentred = (evaluate_number(m, truth, prediction) for m in ("r2_centred", "r2_uncentred"))
    assert centred <= uncentred + 1e-12  # the mean square is at least the variance
    assert uncentred <= 1


@settings(max_examples=50)
@given(pairs(), st.data())
def test_an_integer_weight_is_a_repetition(
    pair: tuple[NDArray[np.float64], NDArray[np.float64]], data: st.DataObject
) -> None:
    truth, prediction = pair
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=truth.size, max_size=truth.size)))
    repeated = np.repeat(truth, times), np.repeat(prediction, times)
    assume(times.sum() > 2 and not is_constant(repeated[0]) and not is_constant(repeated[1]))
    for metric in METRICS:
        assert evaluate(metric, truth, prediction, times) == approx(evaluate(metric, *repeated), rel=1e-9, abs=1e-9)


@given(pairs(), st.floats(1e-6, 1e6))
def test_only_the_proportions_of_weights_matter(
    pair: tuple[NDArray[np.float64], NDArray[np.float64]], factor: float
) -> None:
    truth, prediction = pair
    weights = np.linspace(1, 2, truth.size)
    for metric in METRICS:
        first = evaluate_number(metric, truth, prediction, weights)
        assert first == approx(evaluate_number(metric, truth, prediction, factor * weights), rel=1e-9, abs=1e-9)


@given(pairs(), st.randoms(use_true_random=False))
def test_the_order_of_tokens_does_not_matter(
    pair: tuple[NDArray[np.float64], NDArray[np.float64]], random: object
) -> None:
    truth, prediction = pair
    order = np.random.default_rng(random.getrandbits(32)).permutation(truth.size)  # type: ignore[attr-defined]
    for metric in METRICS:
        value = evaluate_number(metric, truth, prediction)
        assert evaluate_number(metric, truth[order], prediction[order]) == approx(value, rel=1e-9, abs=1e-9)


def evaluate_number(
    metric: str,
    truth: NDArray[np.float64],
    prediction: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
) -> float:
    value = evaluate(metric, truth, prediction, weights)
    assert isinstance(value, float)
    return value
