"""The metrics by hand-computed tables, and what they say where they do not exist."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autointerp.stats import (
    METRICS,
    abs_dev_explained,
    evaluate,
    is_constant,
    pearson,
    r2_centred,
    r2_uncentred,
    spearman,
)
from autointerp.types import Reason, Unscored

TRUTH = [0.0, 1.0, 2.0, 3.0]
PREDICTION = [1.0, 3.0, 2.0, 5.0]


def test_the_metrics_of_a_table_worked_out_by_hand() -> None:
    # deviations from the means 1.5 and 2.75: sum of products 5.5, of squares 5 and 8.75; errors 1, 2, 0, 2
    assert pearson(TRUTH, PREDICTION) == pytest.approx(5.5 / math.sqrt(5 * 8.75))
    assert r2_centred(TRUTH, PREDICTION) == pytest.approx(1 - 9 / 5)
    assert r2_uncentred(TRUTH, PREDICTION) == pytest.approx(1 - 9 / 14)
    assert abs_dev_explained(TRUTH, PREDICTION) == pytest.approx(1 - 5 / 6)


def test_spearman_gives_ties_their_mid_rank() -> None:
    # ranks 1.5 1.5 3 4 against 1 2 3 4: products 4.5, squares 4.5 and 5
    assert spearman([0, 0, 1, 2], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_anscombe_first_pair() -> None:
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    assert pearson(x, y) == pytest.approx(0.81642, abs=5e-6)


def test_weighted_pearson_by_hand() -> None:
    # weights 1 1 2 on (0, 0), (1, 3), (2, 2): means 5/4 and 7/4; the same as repeating the last pair
    truth, prediction = np.array([0, 1, 2, 2]) - 1.25, np.array([0, 3, 2, 2]) - 1.75
    expected = (truth @ prediction) / math.sqrt((truth @ truth) * (prediction @ prediction))
    assert pearson([0, 1, 2], [0, 3, 2], [1, 1, 2]) == pytest.approx(expected)


def test_weighted_spearman_ranks_by_weight() -> None:
    # weights 1 3 1 on the order 0 < 1 < 2: mid-ranks 0.5, 2.5, 4.5, which are as evenly spaced as the ranks 1 2 3
    truth = [0, 1, 2]
    assert spearman(truth, [0, 2, 1], [1, 3, 1]) == pytest.approx(spearman([0, 1, 1, 1, 2], [0, 2, 2, 2, 1]))
    assert spearman(truth, [0, 2, 1], [1, 3, 1]) != pytest.approx(spearman(truth, [0, 2, 1]))


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_prediction_scores_one(metric: str) -> None:
    assert evaluate(metric, TRUTH, TRUTH) == pytest.approx(1)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_an_inverted_prediction_scores_minus_one(metric: str) -> None:
    assert evaluate(metric, TRUTH, [-t for t in TRUTH]) == pytest.approx(-1)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_useless_prediction_scores_about_zero(metric: str) -> None:
    rng = np.random.default_rng(1)
    value = evaluate(metric, rng.exponential(size=20_000), rng.exponential(size=20_000))
    assert isinstance(value, float)
    assert abs(value) < 0.03


def test_scores_are_over_concatenated_tokens_not_a_mean_over_contexts() -> None:
    # Within each context the prediction is wrong way round, but it knows which context is active.
    silent, active = ([0.0, 0.1, 0.2], [1.2, 1.1, 1.0]), ([9.0, 9.1, 9.2], [8.2, 8.1, 8.0])
    per_context = [pearson(*context) for context in (silent, active)]
    concatenated = pearson(silent[0] + active[0], silent[1] + active[1])
    assert per_context == [pytest.approx(-1), pytest.approx(-1)]
    assert isinstance(concatenated, float)
    assert concatenated > 0.99


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize(
    ("truth", "prediction", "reason"),
    [
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], Reason.CONSTANT_TRUTH),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], Reason.CONSTANT_PREDICTION),
        ([0.0, 0.0], [5.0, 5.0], Reason.CONSTANT_TRUTH),
        ([1.0], [2.0], Reason.CONSTANT_TRUTH),
        ([], [], Reason.UNDEFINED),
    ],
)
def test_a_correlation_of_a_constant_is_unscored(
    metric: str, truth: list[float], prediction: list[float], reason: Reason
) -> None:
    found = evaluate(metric, truth, prediction)
    assert isinstance(found, Unscored)
    assert found.reason is reason


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("level", [0.0, 0.3, 7.5, -2e6])
def test_rounding_noise_on_a_constant_is_not_variation(metric: str, level: float) -> None:
    noise = np.random.default_rng(0).normal(size=50) * 1e-17
    found = evaluate(metric, noise + level * (1 + noise), np.arange(50.0))
    assert isinstance(found, Unscored)
    assert found.reason is Reason.CONSTANT_TRUTH


def test_a_probability_that_sums_to_one_only_nearly_is_constant() -> None:
    # expected values of a simulator that always says 7, renormalised: 7 x (0.1 + 0.2 + 0.7) and the like
    values = np.array([7 * (0.1 + 0.2 + 0.7), 7 * (0.7 + 0.2 + 0.1), 7.0, 7 * sum([0.1] * 10)])
    assert len(set(values.tolist())) > 1
    assert is_constant(values)


def test_the_smallest_step_of_single_precision_is_variation() -> None:
    one = np.float32(1)
    assert not is_constant(np.array([one, np.nextafter(one, np.float32(2))], dtype=np.float64))


def test_a_weight_of_zero_takes_a_token_out() -> None:
    assert pearson([*TRUTH, 99], [*PREDICTION, -99], [1, 1, 1, 1, 0]) == pytest.approx(pearson(TRUTH, PREDICTION))
    found = pearson([5, 5, 9], [1, 2, 3], [1, 1, 0])
    assert isinstance(found, Unscored)
    assert found.reason is Reason.CONSTANT_TRUTH


def test_the_two_r2_are_different_numbers_with_different_domains() -> None:
    # A unit that is 2 everywhere: no variance to explain, but LMEN's ratio to the mean square exists.
    constant = r2_centred([2.0, 2.0], [2.0, 1.0])
    assert isinstance(constant, Unscored)
    assert constant.reason is Reason.CONSTANT_TRUTH
    assert r2_uncentred([2.0, 2.0], [2.0, 1.0]) == pytest.approx(1 - 1 / 8)
    # Predicting the mean explains nothing of the variance and much of the mean square.
    assert r2_centred([9.0, 10.0, 11.0], [10.0, 10.0, 10.0]) == pytest.approx(0)
    assert r2_uncentred([9.0, 10.0, 11.0], [10.0, 10.0, 10.0]) == pytest.approx(1 - 2 / 302)


@pytest.mark.parametrize("metric", ["r2_uncentred", "abs_dev_explained"])
def test_a_silent_unit_leaves_nothing_to_explain(metric: str) -> None:
    found = evaluate(metric, [0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    assert isinstance(found, Unscored)
    assert found.reason is Reason.CONSTANT_TRUTH


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_not_a_finite_number_is_refused(metric: str, bad: float | None, place: int) -> None:
    series: list[list[float | None]] = [list(TRUTH), list(PREDICTION), [1.0, 1.0, 1.0, 1.0]]
    series[place][2] = bad
    with pytest.raises(ValueError, match="finite"):
        evaluate(metric, *series)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", METRICS)
def test_series_that_do_not_match_are_refused(metric: str) -> None:
    with pytest.raises(ValueError, match="not one each"):
        evaluate(metric, TRUTH, PREDICTION[:3])
    with pytest.raises(ValueError, match="not one each"):
        evaluate(metric, TRUTH, PREDICTION, [1.0])
    with pytest.raises(ValueError, match="one series"):
        evaluate(metric, [TRUTH], [PREDICTION])
    with pytest.raises(ValueError, match="negative"):
        evaluate(metric, TRUTH, PREDICTION, [1, 1, 1, -1])


def test_an_unknown_metric_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'r2'.*r2_centred, r2_uncentred"):
        evaluate("r2", TRUTH, PREDICTION)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e150, 1e300])
def test_no_scale_of_the_activations_breaks_a_correlation(scale: float) -> None:
    assert pearson([scale * t for t in TRUTH], PREDICTION) == pytest.approx(pearson(TRUTH, PREDICTION))


def test_a_value_too_large_for_a_float_is_unscored() -> None:
    found = r2_uncentred([1e-11, 0.0], [1e300, 1e300])
    assert isinstance(found, Unscored)
    assert found.reason is Reason.UNDEFINED
