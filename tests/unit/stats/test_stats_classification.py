"""Metrics of a yes/no judgement: by hand, by counting pairs, and the base rates that published scores lack."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autointerp.stats import accuracy, auprc, auroc, balanced_accuracy, base_rates, f1
from autointerp.types import Reason, Unscored

TRUTH = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
PREDICTED = [1, 1, 1, 0, 1, 0, 0, 0, 0, 0]  # TP 3, FN 1, FP 1, TN 5


def test_a_table_by_hand() -> None:
    assert accuracy(TRUTH, PREDICTED) == pytest.approx(8 / 10)
    assert balanced_accuracy(TRUTH, PREDICTED) == pytest.approx((3 / 4 + 5 / 6) / 2)
    assert f1(TRUTH, PREDICTED) == pytest.approx(6 / 8)


def test_base_rates_of_saebench() -> None:
    rates = base_rates([1] * 4 + [0] * 10)
    assert rates.accuracy_of_none == pytest.approx(0.714, abs=5e-4)
    assert rates.accuracy_of_all == pytest.approx(4 / 14)
    assert rates.accuracy_of_random(4) == pytest.approx(0.592, abs=5e-4)
    # by enumeration: every choice of four
    truth = [1] * 4 + [0] * 10
    every = [
        np.mean([(i in chosen) == bool(t) for i, t in enumerate(truth)])
        for chosen in itertools.combinations(range(14), 4)
    ]
    assert rates.accuracy_of_random(4) == pytest.approx(np.mean(every))


def test_calling_nothing_positive_is_worth_nothing_when_balanced() -> None:
    nothing = [0] * 10
    assert accuracy(TRUTH, nothing) == pytest.approx(0.6)
    assert balanced_accuracy(TRUTH, nothing) == pytest.approx(0.5)
    assert f1(TRUTH, nothing) == 0


def brute_auroc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:  # type: ignore[type-arg]
    won = total = 0.0
    for i, j in itertools.product(np.flatnonzero(truth), np.flatnonzero(truth == 0)):
        total += weights[i] * weights[j]
        won += weights[i] * weights[j] * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    return float(won / total)


@pytest.mark.parametrize("seed", range(5))
def test_auroc_counts_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.integers(0, 2, 40), rng.integers(0, 8, 40) / 8
    weights = rng.uniform(0, 2, 40) * (rng.random(40) < 0.9)
    assert auroc(truth, scores) == pytest.approx(brute_auroc(truth, scores, np.ones(40)))
    assert auroc(truth, scores, weights) == pytest.approx(brute_auroc(truth, scores, weights))


def test_auprc_by_hand() -> None:
    # thresholds 0.9: 1 of 1; 0.8: 1 of 2; 0.7 (a tie of a hit and a miss): 2 of 4; 0.1: 3 of 5
    value = auprc([1, 0, 1, 0, 1], [0.9, 0.8, 0.7, 0.7, 0.1])
    assert value == pytest.approx((1 / 1 + 2 / 4 + 3 / 5) / 3)


def test_auprc_of_a_blind_judge_is_the_share_of_positives() -> None:
    assert auprc([1, 0, 0, 0], [0.5] * 4) == pytest.approx(1 / 4)
    assert auprc([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3]) == pytest.approx(1)


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, f1, auroc, auprc])
def test_an_integer_weight_is_a_repetition(metric: object) -> None:
    times = [2, 1, 3, 1, 1, 2, 1, 0, 1, 2]
    repeated = np.repeat(TRUTH, times), np.repeat(PREDICTED, times)
    assert metric(TRUTH, PREDICTED, times) == pytest.approx(metric(*repeated))  # type: ignore[operator]


def test_one_class_only_is_unscored() -> None:
    for metric in (balanced_accuracy, auroc):
        for truth in ([0, 0, 0], [1, 1, 1]):
            found = metric(truth, [0, 1, 0])
            assert isinstance(found, Unscored)
            assert found.reason is Reason.CONSTANT_TRUTH
    for found in (f1([0, 0], [0, 0]), auprc([0, 0], [0.1, 0.2]), accuracy([], []), balanced_accuracy([], [])):
        assert isinstance(found, Unscored)
        assert found.reason is Reason.UNDEFINED


@pytest.mark.parametrize("bad", [[7, 0, 1], ["no", "yes", "no"], [0.5, 0, 1], [np.nan, 0, 1], [-1, 0, 1]])
def test_only_zero_and_one_are_classes(bad: list[object]) -> None:
    for metric in (accuracy, balanced_accuracy, f1):
        with pytest.raises(ValueError, match="0 and 1 only"):
            metric([1, 0, 1], bad)
    with pytest.raises(ValueError, match="0 and 1 only"):
        auroc(bad, [0.1, 0.2, 0.3])


def test_lengths_and_weights_are_checked() -> None:
    with pytest.raises(ValueError, match="not one each"):
        accuracy([1, 0], [1])
    with pytest.raises(ValueError, match="finite score"):
        auroc([1, 0], [0.5, np.nan])
    with pytest.raises(ValueError, match="not negative"):
        f1([1, 0], [1, 0], [1, -1])
    with pytest.raises(ValueError, match="base rates of no items"):
        base_rates([])
    with pytest.raises(ValueError, match="cannot pick"):
        base_rates([1, 0]).accuracy_of_random(3)
