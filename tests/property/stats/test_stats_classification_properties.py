"""Metrics of judgements and comparisons of groups, on generated values: against scipy, by counting, by invariance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from autointerp.stats import (
    GroupComparison,
    PairedComparison,
    accuracy,
    auroc,
    balanced_accuracy,
    compare_groups,
    compare_paired,
    f1,
    summarise,
)

judgements = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40)
levels = st.integers(-20, 20).map(lambda value: value / 20)  # with ties
scores = st.lists(levels, min_size=2, max_size=25)


@given(judgements)
def test_accuracy_balanced_accuracy_and_f1_by_counting(pairs: list[tuple[int, int]]) -> None:
    """One peer prints balanced accuracy as "accuracy": each name means its own count."""
    truth, said = map(list, zip(*pairs, strict=True))
    hits, silence = pairs.count((1, 1)), pairs.count((0, 0))
    false, missed = pairs.count((0, 1)), pairs.count((1, 0))
    assert accuracy(truth, said) == pytest.approx((hits + silence) / len(pairs))
    if 0 < sum(truth) < len(truth):
        sensitivity, specificity = hits / (hits + missed), silence / (silence + false)
        assert balanced_accuracy(truth, said) == pytest.approx((sensitivity + specificity) / 2)
    if hits + false + missed:
        assert f1(truth, said) == pytest.approx(2 * hits / (2 * hits + false + missed))


@given(st.lists(st.tuples(st.integers(0, 1), levels), min_size=2, max_size=40))
def test_auroc_is_the_rank_statistic_of_scipy(pairs: list[tuple[int, float]]) -> None:
    truth, predicted = map(np.array, zip(*pairs, strict=True))
    assume(0 < truth.sum() < len(truth))
    positive, negative = predicted[truth == 1], predicted[truth == 0]
    u = stats.mannwhitneyu(positive, negative).statistic
    assert auroc(truth, predicted) == pytest.approx(u / (len(positive) * len(negative)))
    assert auroc(truth, -predicted) == pytest.approx(1 - u / (len(positive) * len(negative)))


@given(scores, scores)
def test_a_comparison_of_groups_is_scipys_and_counts_pairs(features: list[float], neurons: list[float]) -> None:
    found = compare_groups(features, neurons, n_unscored_features=0, n_unscored_neurons=0, seed=0, resamples=100)
    assert isinstance(found, GroupComparison)
    assert found.mean_difference.value == pytest.approx(np.mean(features) - np.mean(neurons), abs=1e-12)
    assert found.median_difference.value == pytest.approx(np.median(features) - np.median(neurons), abs=1e-12)
    assert found.mann_whitney_u == pytest.approx(stats.mannwhitneyu(features, neurons).statistic)
    above = [np.sign(one - other) for one, other in itertools.product(features, neurons)]
    assert found.cliffs_delta.value == pytest.approx(np.mean(above), abs=1e-12)


@given(st.lists(st.tuples(levels, levels), min_size=2, max_size=25))
def test_a_paired_comparison_is_of_the_gaps(pairs: list[tuple[float, float]]) -> None:
    own, control = map(np.array, zip(*pairs, strict=True))
    found = compare_paired(own, control, n_unpaired=0, seed=0, resamples=100)
    assert isinstance(found, PairedComparison)
    assert found.mean_gap.value == pytest.approx(np.mean(own - control), abs=1e-12)
    above, below = int((own > control).sum()), int((own < control).sum())
    assert (found.n_above, found.n_below, found.n_equal) == (above, below, len(own) - above - below)
    if above + below:
        assert found.sign_p_value == pytest.approx(stats.binomtest(above, above + below).pvalue)


@given(scores, st.floats(0.05, 0.95))
def test_a_summary_holds_the_mean_and_median_and_its_interval_grows_with_the_level(
    values: list[float], level: float
) -> None:
    narrow, wide = (
        summarise(values, n_unscored=0, seed=0, resamples=100, level=one) for one in (level, (level + 1) / 2)
    )
    for found in (narrow, wide):
        assert found.mean.value == pytest.approx(np.mean(values), abs=1e-12)  # type: ignore[union-attr]
        assert found.median.value == pytest.approx(np.median(values), abs=1e-12)  # type: ignore[union-attr]
    assert wide.mean.interval.low <= narrow.mean.interval.low + 1e-12  # type: ignore[union-attr]
    assert wide.mean.interval.high >= narrow.mean.interval.high - 1e-12  # type: ignore[union-attr]
