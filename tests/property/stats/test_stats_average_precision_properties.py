"""AUPRC and AUROC on generated judgements: against scikit-learn, by going through the thresholds, and by invariance."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from autointerp.stats import auprc, auroc
from autointerp.types import Unscored

Items: TypeAlias = list[tuple[int, int, int]]
# A busy machine is no defect.
PROPERTY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

# (truth, score, weight): few distinct scores, so that ties are many; a weight of 0 leaves an item out.
items = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=30)


def columns(given_items: Items) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    truth, scores, weights = map(np.array, zip(*given_items, strict=True))
    assume((truth * weights).sum() > 0)
    return truth, scores / 4, weights.astype(float)


def by_thresholds(given_items: Items) -> float:
    """Sum of precision x gained recall, one threshold after another, in exact fractions."""
    total = sum(weight for truth, _, weight in given_items if truth)
    value = recall = Fraction(0)
    for threshold in sorted({score for _, score, _ in given_items}, reverse=True):
        above = [(truth, weight) for truth, score, weight in given_items if score >= threshold]
        hits = sum(weight for truth, weight in above if truth)
        everything = sum(weight for _, weight in above)
        if everything:
            value += Fraction(hits, everything) * (Fraction(hits, total) - recall)
        recall = Fraction(hits, total)
    return float(value)


@PROPERTY
@given(items)
def test_auprc_is_scikit_learns_average_precision(given_items: Items) -> None:
    truth, scores, weights = columns(given_items)
    assert auprc(truth, scores, weights) == pytest.approx(average_precision_score(truth, scores, sample_weight=weights))
    if truth.any():
        assert auprc(truth, scores) == pytest.approx(average_precision_score(truth, scores))


@PROPERTY
@given(items)
def test_auprc_by_going_through_the_thresholds(given_items: Items) -> None:
    truth, scores, weights = columns(given_items)
    assert auprc(truth, scores, weights) == pytest.approx(by_thresholds(given_items), abs=1e-12)


@PROPERTY
@given(items)
def test_weighted_auroc_is_scikit_learns(given_items: Items) -> None:
    truth, scores, weights = columns(given_items)
    assume(((1 - truth) * weights).sum() > 0)
    assert auroc(truth, scores, weights) == pytest.approx(roc_auc_score(truth, scores, sample_weight=weights))


@PROPERTY
@given(items, st.floats(0.01, 100))
def test_auprc_sees_neither_the_order_of_items_nor_the_scale_of_scores_or_weights(
    given_items: Items, factor: float
) -> None:
    truth, scores, weights = columns(given_items)
    value = auprc(truth, scores, weights)
    order = np.random.default_rng(len(given_items)).permutation(len(truth))
    assert auprc(truth[order], scores[order], weights[order]) == pytest.approx(value)
    assert auprc(truth, np.exp(scores) * factor, weights) == pytest.approx(value)
    assert auprc(truth, scores, weights * factor) == pytest.approx(value)


@PROPERTY
@given(items)
def test_an_integer_weight_is_a_repetition(given_items: Items) -> None:
    truth, scores, weights = columns(given_items)
    times = weights.astype(int)
    assert auprc(truth, scores, weights) == pytest.approx(auprc(np.repeat(truth, times), np.repeat(scores, times)))


@PROPERTY
@given(items)
def test_auprc_lies_between_all_negatives_first_and_all_positives_first(given_items: Items) -> None:
    """The lower bound: the recall gained in infinitely small steps, after all negatives. 1 - N/P ln(1 + P/N)."""
    truth, scores, weights = columns(given_items)
    value = auprc(truth, scores, weights)
    positive, negative = (truth * weights).sum(), ((1 - truth) * weights).sum()
    worst = 1 - negative / positive * np.log1p(positive / negative) if negative else 1
    assert isinstance(value, float)
    assert worst - 1e-12 <= value <= 1
    assert auprc(truth, truth, weights) == 1
    share = (truth * weights).sum() / weights.sum()
    assert auprc(truth, np.zeros_like(scores), weights) == pytest.approx(share)


@PROPERTY
@given(items, st.integers(1, 5))
def test_negatives_below_everything_do_not_matter_and_above_everything_do(given_items: Items, extra: int) -> None:
    truth, scores, weights = columns(given_items)
    value = auprc(truth, scores, weights)
    assert isinstance(value, float)

    def with_negatives(score: float) -> float:
        found = auprc(
            np.append(truth, np.zeros(extra, dtype=int)),
            np.append(scores, np.full(extra, score)),
            np.append(weights, np.ones(extra)),
        )
        assert isinstance(found, float)
        return found

    assert with_negatives(-100) == pytest.approx(value)
    assert with_negatives(100) < value


@PROPERTY
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
def test_without_a_positive_there_is_no_auprc(scores: list[int]) -> None:
    assert isinstance(auprc([0] * len(scores), scores), Unscored)
    assert isinstance(auprc([1] + [0] * len(scores), [0, *scores], [0] + [1] * len(scores)), Unscored)
