"""Intervals: against an implementation without any shortcut, by their rules, and by their coverage."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from autointerp.seeds import generator
from autointerp.stats import METRICS, evaluate, measure, pearson, score_with_interval
from autointerp.stats.intervals import CEILING, METHOD
from autointerp.stats.resampling import design_of
from autointerp.types import Interval, Outcome, Reason, Scored, Unscored

Contexts = list[NDArray[np.float64]]


def make(
    seed: int, counts: dict[str, int], length: int, agreement: float = 0.6
) -> tuple[Contexts, Contexts, list[str]]:
    """Contexts whose level and error vary from one to the next; returns truth, prediction and strata."""
    rng = np.random.default_rng(seed)
    truth, prediction, strata = [], [], []
    for stratum, count in counts.items():
        for _ in range(count):
            t = np.maximum((stratum == "top") + 0.5 * rng.normal() + rng.normal(size=length), 0)
            truth.append(t)
            prediction.append(agreement * t + 0.4 * rng.normal() + 0.6 * rng.normal(size=length))
            strata.append(stratum)
    return truth, prediction, strata


def names(contexts: Sequence[Any]) -> list[str]:
    return [f"c{index}" for index in range(len(contexts))]


def scored(outcome: Outcome) -> tuple[Scored, Interval]:
    assert isinstance(outcome, Scored)
    assert outcome.interval is not None
    return outcome, outcome.interval


def chance_error(truth: Contexts, prediction: Contexts, strata: list[str]) -> float:
    """Standard deviation of Pearson over EVERY way to deal the predictions to the contexts of their stratum."""
    by_stratum = [[i for i, s in enumerate(strata) if s == name] for name in sorted(set(strata))]
    values = []
    for dealt in itertools.product(*(itertools.permutations(rows) for rows in by_stratum)):
        source = dict(zip(itertools.chain(*by_stratum), itertools.chain(*dealt), strict=True))
        value = pearson(np.concatenate(truth), np.concatenate([prediction[source[i]] for i in range(len(truth))]))
        values.append(value)
    return float(np.std(values))


def degrees_of_freedom(truth: Contexts, prediction: Contexts, strata: list[str]) -> float:
    """2 V^2 / Var(V) of the jackknife variance V of z, by leaving out one context after the other."""
    rows = range(len(truth))
    z = []
    for out in rows:
        value = pearson(*(np.concatenate([series[i] for i in rows if i != out]) for series in (truth, prediction)))
        assert isinstance(value, float)
        z.append(math.atanh(min(value, CEILING)))
    variance = spread = 0.0
    for name in set(strata):
        inside = [z[i] for i in rows if strata[i] == name]
        squares = [(value - np.mean(inside)) ** 2 for value in inside]
        variance += sum(squares)
        spread += len(squares) * np.var(squares, ddof=1)
    return float(min(len(truth) - len(set(strata)), 2 * variance**2 / spread))


@pytest.mark.parametrize("agreement", [0.9, 0.0])
def test_pearson_interval_is_the_one_worked_out_step_by_step(agreement: float) -> None:
    truth, prediction, strata = make(1, {"top": 4, "random": 3}, 12, agreement)
    found, interval = scored(
        score_with_interval("pearson", truth, prediction, names(truth), strata, seed=7, resamples=400)
    )

    r = stats.pearsonr(np.concatenate(truth), np.concatenate(prediction)).statistic
    design = design_of(names(truth), strata, [12] * 7)
    z = []
    for row in design.draw(400, generator(7, "cluster bootstrap")):
        weights = np.repeat(row[design.cluster], 12)
        value = pearson(np.concatenate(truth), np.concatenate(prediction), weights)
        assert isinstance(value, float)
        z.append(math.atanh(min(value, CEILING)))
    error = max(float(np.std(z, ddof=1)), (1 - r**2) * chance_error(truth, prediction, strata))
    margin = stats.t.ppf(0.975, degrees_of_freedom(truth, prediction, strata)) * error
    assert found.value == pytest.approx(r)
    assert interval.low == pytest.approx(math.tanh(math.atanh(r) - margin), rel=1e-6)
    assert interval.high == pytest.approx(math.tanh(math.atanh(r) + margin), rel=1e-6)
    assert (interval.level, interval.method) == (0.95, METHOD)


def test_the_floor_by_chance_pairing_is_reached_where_nothing_overlaps() -> None:
    # In either stratum two contexts have truth and the two others have prediction: every resample agrees on about -0.1.
    active, silent = list(np.eye(4)[:2]), [np.zeros(4)] * 2
    truth, prediction = (active + silent) * 2, (silent + active) * 2
    strata = ["top"] * 4 + ["random"] * 4
    found = measure("pearson", truth, prediction, names(truth), strata, seed=0)
    outcome, interval = scored(found.outcome)
    assert outcome.value < 0
    floor = (1 - outcome.value**2) * chance_error(truth, prediction, strata)
    assert found.standard_error == pytest.approx(floor, rel=1e-9)
    assert interval.low < 0 < interval.high


@pytest.mark.parametrize("metric", METRICS)
def test_an_interval_holds_its_value_and_the_metric_is_over_all_tokens(metric: str) -> None:
    truth, prediction, strata = make(2, {"top": 5, "random": 5}, 30)
    outcome, interval = scored(score_with_interval(metric, truth, prediction, names(truth), strata, seed=0))
    assert outcome.value == pytest.approx(evaluate(metric, np.concatenate(truth), np.concatenate(prediction)))
    assert interval.low < outcome.value < interval.high <= 1
    assert (outcome.n_contexts, outcome.n_tokens) == (10, 300)


@pytest.mark.parametrize("metric", METRICS)
def test_the_seed_and_nothing_else_decides(metric: str) -> None:
    truth, prediction, strata = make(3, {"top": 5, "random": 6}, 20, agreement=3.0)

    def at(seed: int, order: Sequence[int]) -> Interval:
        arguments = ([series[i] for i in order] for series in (truth, prediction, names(truth), strata))
        return scored(score_with_interval(metric, *arguments, seed=seed))[1]

    first = at(5, range(11))
    assert at(5, range(11)) == first
    assert at(6, range(11)) != first
    backwards = at(5, range(10, -1, -1))
    assert (backwards.low, backwards.high) == (pytest.approx(first.low), pytest.approx(first.high))


def test_a_near_duplicate_in_the_same_cluster_adds_no_certainty() -> None:
    truth, prediction, strata = make(4, {"top": 5, "random": 5}, 20)
    once = scored(score_with_interval("pearson", truth, prediction, names(truth), strata, seed=1))[1]
    doubled = (truth * 2, prediction * 2)
    together = scored(score_with_interval("pearson", *doubled, names(truth) * 2, strata * 2, seed=1))[1]
    apart = scored(score_with_interval("pearson", *doubled, names(truth * 2), strata * 2, seed=1))[1]
    assert (together.low, together.high) == (pytest.approx(once.low), pytest.approx(once.high))
    assert apart.high - apart.low < 0.8 * (once.high - once.low)


def test_more_contexts_narrow_and_a_higher_level_widens() -> None:
    def width(contexts: int, level: float) -> float:
        truth, prediction, strata = make(5, {"top": contexts, "random": contexts}, 20)
        interval = scored(
            score_with_interval("spearman", truth, prediction, names(truth), strata, seed=1, level=level)
        )[1]
        return interval.high - interval.low

    assert width(40, 0.95) < width(10, 0.95) < width(10, 0.99)


def test_a_perfect_simulator_scores_one_with_a_narrow_interval() -> None:
    truth, _, strata = make(6, {"top": 5, "random": 5}, 64)
    outcome, interval = scored(score_with_interval("pearson", truth, truth, names(truth), strata, seed=0))
    assert outcome.value == pytest.approx(1)
    assert interval.low > 0.98
    assert interval.high == pytest.approx(1)


def test_a_score_without_value_has_the_metrics_reason() -> None:
    flat, rising = [np.full(5, 2.0)] * 4, [np.arange(5.0)] * 4
    for truth, prediction, reason in [
        (flat, rising, Reason.CONSTANT_TRUTH),
        (rising, flat, Reason.CONSTANT_PREDICTION),
        ([], [], Reason.UNDEFINED),
    ]:
        outcome = score_with_interval("pearson", truth, prediction, names(truth), seed=0)
        assert isinstance(outcome, Unscored)
        assert outcome.reason is reason


def test_one_context_gives_a_score_without_interval() -> None:
    found = measure("pearson", [np.arange(5.0)], [np.arange(5.0) ** 2], ["a"], seed=0)
    assert isinstance(found.outcome, Scored)
    assert found.outcome.interval is None
    assert "one cluster" in found.note


def test_activity_in_one_context_only_gives_no_interval_and_says_so() -> None:
    truth = [np.zeros(8) for _ in range(6)]
    truth[2] = np.arange(8.0)
    prediction = [np.sin(np.arange(8.0) + i) for i in range(6)]
    found = measure("pearson", truth, prediction, names(truth), seed=0, resamples=2000)
    assert isinstance(found.outcome, Scored)
    assert found.outcome.interval is None
    # five draws of six miss the one context with probability (5/6)^5 = 0.40
    assert found.undefined / found.resamples == pytest.approx((5 / 6) ** 5, abs=0.04)
    assert f"undefined in {found.undefined} of 2000 resamples" in found.note


def test_a_few_undefined_resamples_are_counted_and_left_out() -> None:
    truth = [np.arange(8.0) if i < 3 else np.zeros(8) for i in range(8)]
    prediction = [np.arange(8.0) + np.cos(np.arange(8.0) * i) for i in range(8)]
    found = measure("pearson", truth, prediction, names(truth), seed=0, resamples=2000)
    # seven draws of eight miss three contexts with probability (5/8)^7 = 0.037
    assert found.undefined / found.resamples == pytest.approx((5 / 8) ** 7, abs=0.015)
    scored(found.outcome)


def test_contexts_without_weight_do_not_count() -> None:
    truth, prediction, strata = make(8, {"top": 5, "random": 5}, 10)
    weights = [np.full(10, float(i != 3)) for i in range(10)]
    with_zero, _ = scored(score_with_interval("pearson", truth, prediction, names(truth), strata, weights, seed=0))
    kept = [i for i in range(10) if i != 3]
    without, _ = scored(
        score_with_interval(
            "pearson", *([s[i] for i in kept] for s in (truth, prediction, names(truth), strata)), seed=0
        )
    )
    assert (with_zero.n_contexts, with_zero.n_tokens) == (9, 90)
    assert with_zero == without


def test_only_the_proportions_of_weights_move_an_interval() -> None:
    truth, prediction, strata = make(9, {"top": 5, "random": 5}, 10)
    found = []
    for factor in (1.0, 1e5):
        weights = [np.full(10, factor * (1 + i)) for i in range(10)]
        found.append(score_with_interval("spearman", truth, prediction, names(truth), strata, weights, seed=0))
    (one, first), (many, second) = map(scored, found)
    assert one.value == pytest.approx(many.value)
    assert (first.low, first.high) == (pytest.approx(second.low), pytest.approx(second.high))


def test_a_terrible_explained_share_keeps_a_finite_interval() -> None:
    truth, prediction, strata = make(10, {"top": 2, "random": 2}, 10)
    wild = [p * 10.0 ** (3 * i) for i, p in enumerate(prediction)]
    outcome, interval = scored(score_with_interval("r2_centred", truth, wild, names(truth), strata, seed=0))
    assert outcome.value < -1e9
    assert math.isfinite(interval.low)
    assert interval.high <= 1


def test_arguments_that_do_not_match_are_refused() -> None:
    truth, prediction, strata = make(11, {"top": 3}, 5)
    with pytest.raises(ValueError, match="context 1: truth"):
        score_with_interval("pearson", truth, [prediction[0], prediction[1][:4], prediction[2]], names(truth), seed=0)
    with pytest.raises(ValueError, match="one cluster"):
        score_with_interval("pearson", truth, prediction, ["a"], seed=0)
    with pytest.raises(ValueError, match="one stratum"):
        score_with_interval("pearson", truth, prediction, names(truth), strata[:2], seed=0)
    with pytest.raises(ValueError, match="not one each"):
        score_with_interval("pearson", truth, prediction[:2], names(truth), seed=0)
    with pytest.raises(ValueError, match="finite"):
        score_with_interval("pearson", truth, [*prediction[:2], prediction[2] * np.nan], names(truth), seed=0)
    with pytest.raises(ValueError, match="level"):
        score_with_interval("pearson", truth, prediction, names(truth), seed=0, level=95)


@pytest.mark.parametrize(
    ("metric", "counts"), [("pearson", {"top": 5, "random": 5}), ("spearman", {"top": 10, "random": 20})]
)
def test_coverage_is_about_its_level(metric: str, counts: dict[str, int]) -> None:
    # Truth: a large sample of the same design. 250 intervals: 95% of them, give or take three standard errors of 1.4%.
    factor = 400
    truth, prediction, _ = make(0, {s: factor * c for s, c in counts.items()}, 20)
    score = evaluate(metric, np.concatenate(truth), np.concatenate(prediction))
    held = 0
    for seed in range(1, 251):
        t, p, s = make(seed, counts, 20)
        interval = scored(score_with_interval(metric, t, p, names(t), s, seed=seed, resamples=200))[1]
        held += interval.low <= score <= interval.high
    assert 0.91 <= held / 250 <= 0.99


@pytest.mark.parametrize("scale", [1e-9, 1e150])
@pytest.mark.parametrize("metric", METRICS)
def test_the_unit_of_the_activations_does_not_matter(metric: str, scale: float) -> None:
    truth, prediction, strata = make(12, {"top": 5, "random": 5}, 20)
    found = []
    for factor in (1.0, scale):
        series = ([factor * t for t in truth], [factor * p for p in prediction])
        found.append(scored(score_with_interval(metric, *series, names(truth), strata, seed=0)))
    (one, first), (other, second) = found
    assert other.value == pytest.approx(one.value)
    assert (second.low, second.high) == (pytest.approx(first.low), pytest.approx(first.high))
