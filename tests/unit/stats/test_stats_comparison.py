"""Features against neurons and scores against controls: by counting, by hand, by scipy, and by coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from autointerp.seeds import generator
from autointerp.stats import GroupComparison, PairedComparison, compare_groups, compare_paired, comparison, summarise
from autointerp.stats.comparison import METHOD, Estimate
from autointerp.types import Unscored

FEATURES = [0.9, 0.5, 0.7, 0.5]
NEURONS = [0.5, 0.1, 0.3]


def groups(features: list[float], neurons: list[float], seed: int = 0, **settings: float) -> GroupComparison:
    found = compare_groups(features, neurons, n_unscored_features=2, n_unscored_neurons=5, seed=seed, **settings)  # type: ignore[arg-type]
    assert isinstance(found, GroupComparison)
    return found


def paired(own: list[float], control: list[float]) -> PairedComparison:
    found = compare_paired(own, control, n_unpaired=3, seed=0)
    assert isinstance(found, PairedComparison)
    return found


def test_a_comparison_worked_out_by_hand() -> None:
    found = groups(FEATURES, NEURONS)
    assert found.mean_difference.value == pytest.approx(0.65 - 0.3)
    assert found.median_difference.value == pytest.approx(0.6 - 0.3)
    # of 12 pairs the feature is above in 10 and level in 2
    assert found.mann_whitney_u == pytest.approx(11)
    assert found.cliffs_delta.value == pytest.approx(10 / 12)
    counts = (found.n_features, found.n_neurons, found.n_unscored_features, found.n_unscored_neurons)
    assert counts == (4, 3, 2, 5)


def test_the_rank_test_without_ties_is_exact() -> None:
    # the most extreme of 20 orders of 3 + 3, on either side
    assert groups([0.7, 0.8, 0.9], [0.1, 0.2, 0.3]).p_value == pytest.approx(2 / 20)


def test_cliffs_delta_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 10, 40) / 10, rng.integers(0, 12, 30) / 12
    delta = np.mean([np.sign(a - b) for a in first for b in second])
    assert groups(first.tolist(), second.tolist()).cliffs_delta.value == pytest.approx(delta)


def test_exchanging_the_groups_changes_every_sign() -> None:
    one, other = groups(FEATURES, NEURONS), groups(NEURONS, FEATURES)
    for name in ("mean_difference", "median_difference", "cliffs_delta"):
        assert getattr(one, name).value == pytest.approx(-getattr(other, name).value)
    assert one.p_value == pytest.approx(other.p_value)


def test_an_estimate_lies_in_its_interval_which_narrows_with_units_and_level() -> None:
    rng = np.random.default_rng(1)

    def width(units: int, level: float) -> float:
        found = groups(rng.beta(4, 2, units).tolist(), rng.beta(2, 4, units).tolist(), level=level)
        for estimate in (found.mean_difference, found.median_difference, found.cliffs_delta):
            assert estimate.interval.low <= estimate.value <= estimate.interval.high
            assert (estimate.interval.level, estimate.interval.method) == (level, METHOD)
        return found.mean_difference.interval.high - found.mean_difference.interval.low

    assert width(400, 0.95) < width(20, 0.95) < width(20, 0.99)


def test_the_interval_of_a_large_mean_difference_is_welchs() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(1, 1, 300), rng.normal(0, 2, 200)
    welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    interval = groups(first.tolist(), second.tolist(), resamples=4000).mean_difference.interval
    assert (interval.low, interval.high) == (pytest.approx(welch.low, abs=0.03), pytest.approx(welch.high, abs=0.03))


def test_the_seed_decides() -> None:
    assert groups(FEATURES, NEURONS, seed=1) == groups(FEATURES, NEURONS, seed=1)
    rng = np.random.default_rng(3)
    first, second = rng.random(50).tolist(), rng.random(50).tolist()
    assert groups(first, second, seed=1) != groups(first, second, seed=2)


def test_many_units_are_resampled_in_blocks_of_the_same_draws() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(0.5, 1, 3000), rng.normal(0, 1, 2000)
    found = groups(first.tolist(), second.tolist())
    error = np.sqrt(first.var() / 3000 + second.var() / 2000)
    width = found.mean_difference.interval.high - found.mean_difference.interval.low
    assert width == pytest.approx(2 * 1.96 * error, rel=0.08)


def test_a_gap_to_controls_by_hand() -> None:
    # gaps 0.4 0.4 0.1 0 -0.1: three above, one below, one equal
    found = paired([0.5, 0.6, 0.2, 0.3, 0.1], [0.1, 0.2, 0.1, 0.3, 0.2])
    assert found.mean_gap.value == pytest.approx(0.16)
    assert found.median_gap.value == pytest.approx(0.1)
    assert (found.n_above, found.n_below, found.n_equal, found.n_pairs, found.n_unpaired) == (3, 1, 1, 5, 3)
    # four that moved, three or more on one side: 2 (4 + 1) / 16
    assert found.sign_p_value == pytest.approx(10 / 16)


def test_nine_of_ten_above() -> None:
    own = [0.1 * (i + 1) for i in range(9)] + [-0.05]
    found = paired(own, [0.0] * 10)
    assert found.sign_p_value == pytest.approx(2 * (1 + 10) / 1024)
    # signed ranks: the one below has rank 1 of 10: four subsets of ranks sum to 1 or less, on two sides
    assert found.wilcoxon_p_value == pytest.approx(2 * 2 / 1024)


def test_pairs_are_compared_within_units_not_between_groups() -> None:
    # Units differ far more than their gaps: unpaired this would be noise.
    rng = np.random.default_rng(5)
    control = rng.uniform(-1, 1, 40)
    found = paired((control + rng.normal(0.05, 0.02, 40)).tolist(), control.tolist())
    assert 0 < found.mean_gap.interval.low < 0.05 < found.mean_gap.interval.high


def test_equal_scores_show_no_gap() -> None:
    found = paired([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert (found.sign_p_value, found.wilcoxon_p_value) == (1, 1)
    assert (found.mean_gap.value, found.mean_gap.interval.low, found.mean_gap.interval.high) == (0, 0, 0)


def test_a_summary_counts_what_it_leaves_out() -> None:
    found = summarise(FEATURES, n_unscored=6, seed=0)
    assert not isinstance(found, Unscored)
    assert (found.n_scored, found.n_unscored, found.n_attempted) == (4, 6, 10)
    assert (found.mean.value, found.median.value) == (pytest.approx(0.65), pytest.approx(0.6))


def test_too_few_units_are_unscored_with_the_number() -> None:
    for found in (
        compare_groups([0.5], NEURONS, n_unscored_features=0, n_unscored_neurons=0, seed=0),
        compare_groups(FEATURES, [], n_unscored_features=0, n_unscored_neurons=0, seed=0),
        compare_paired([0.5], [0.4], n_unpaired=0, seed=0),
        summarise([], n_unscored=9, seed=0),
    ):
        assert isinstance(found, Unscored)
        assert "two or more" in found.detail


def test_an_unscored_unit_cannot_be_passed_as_a_number() -> None:
    with pytest.raises(ValueError, match="counted, not passed"):
        summarise([0.5, np.nan, 0.6], n_unscored=0, seed=0)
    with pytest.raises(ValueError, match="counted, not passed"):
        compare_groups(FEATURES, [0.1, np.inf], n_unscored_features=0, n_unscored_neurons=0, seed=0)
    with pytest.raises(ValueError, match="not one each"):
        compare_paired(FEATURES, NEURONS, n_unpaired=0, seed=0)


def test_coverage_of_the_mean_of_skewed_scores_is_about_its_level() -> None:
    rng = np.random.default_rng(6)
    held = 0
    for seed in range(300):
        found = summarise(rng.beta(0.5, 2, 25), n_unscored=0, seed=seed, resamples=400)
        assert not isinstance(found, Unscored)
        mean: Estimate = found.mean
        held += mean.interval.low <= 0.2 <= mean.interval.high
    assert 0.91 <= held / 300 <= 0.99


def test_the_interval_of_cliffs_delta_is_that_of_resampled_pairs() -> None:
    rng = np.random.default_rng(7)
    first, second = rng.integers(0, 10, 60) / 10 + 0.2, rng.integers(0, 12, 50) / 12
    interval = groups(first.tolist(), second.tolist(), resamples=4000).cliffs_delta.interval
    replicates = []
    for _ in range(4000):
        a, b = rng.choice(first, 59), rng.choice(second, 49)
        replicates.append(np.sign(a[:, None] - b).mean())
    tail = stats.norm.cdf(stats.t.ppf(0.025, 49))  # Student's quantile for the smaller group
    low, high = np.quantile(replicates, [tail, 1 - tail])
    assert (interval.low, interval.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


@pytest.mark.parametrize(("n", "m"), [(7, 5), (60, 41), (900, 1200)])
def test_the_bootstrap_is_that_of_whole_arrays_of_resamples(monkeypatch: pytest.MonkeyPatch, n: int, m: int) -> None:
    """Worked on in blocks, by counting, the intervals are those of plain numpy on all resamples at once."""
    monkeypatch.setattr(comparison, "_CELLS_AT_ONCE", 3000)
    rng = np.random.default_rng(n)
    first, second = np.round(rng.normal(0.4, 0.3, n), 2), np.round(rng.normal(0.1, 0.3, m), 2)
    found = compare_groups(first, second, n_unscored_features=0, n_unscored_neurons=0, seed=5, resamples=300)
    assert isinstance(found, GroupComparison)
    draws = generator(5, "bootstrap over units", "groups")
    a, b = first[draws.integers(0, n, (300, n - 1))], second[draws.integers(0, m, (300, m - 1))]
    deltas = [np.sign(x[:, None] - y[None, :]).mean() for x, y in zip(a, b, strict=True)]
    tail = stats.norm.cdf(stats.t.ppf(0.025, min(n, m) - 1))
    for estimate, replicates in (
        (found.mean_difference, a.mean(axis=1) - b.mean(axis=1)),
        (found.median_difference, np.median(a, axis=1) - np.median(b, axis=1)),
    ):
        low, high = np.quantile(replicates, [tail, 1 - tail])
        assert (estimate.interval.low, estimate.interval.high) == pytest.approx((low, high), abs=1e-14)
    low, high = np.quantile(deltas, [tail, 1 - tail])
    assert (found.cliffs_delta.interval.low, found.cliffs_delta.interval.high) == pytest.approx((low, high), abs=1e-12)
