"""The benchmarks that the documented numbers come from still run, and measure what they say."""

from __future__ import annotations

import pytest

from autointerp.stats.intervals import METHOD
from tests.benchmarks import coverage_of_comparisons, coverage_of_intervals, speed_of_intervals


def test_a_row_of_the_coverage_of_intervals() -> None:
    rows = list(coverage_of_intervals.rows())
    assert {row.metric for row in rows} == {"pearson", "spearman"}
    found = coverage_of_intervals.cover(rows[0], samples=4, seed=0)
    assert set(found["methods"]) == {METHOD, "percentile", "bca"}
    for method in found["methods"].values():
        assert 0 <= method["coverage"] <= 1
        assert method["width"] > 0


def test_weighted_rows_cover_the_same_share_of_the_corpus() -> None:
    row = next(row for row in coverage_of_intervals.rows() if row.weights is not None)
    assert sum(row.counts[stratum] * row.weight(stratum) for stratum in row.counts) == pytest.approx(1)


def test_the_truths_of_the_comparison_are_those_of_large_groups() -> None:
    truths = coverage_of_comparisons.TRUTHS
    features = coverage_of_comparisons.FEATURES.rvs(4000, random_state=1)
    neurons = coverage_of_comparisons.NEURONS.rvs(4000, random_state=2)
    assert truths["mean_difference"] == pytest.approx(features.mean() - neurons.mean(), abs=0.02)
    assert truths["cliffs_delta"] == pytest.approx((features[:, None] > neurons).mean() * 2 - 1, abs=0.03)


def test_the_speed_is_measured() -> None:
    assert all(ms > 0 for ms in speed_of_intervals.run(repeats=1)["milliseconds_per_call"].values())
