"""Features against neurons, and explanations against their controls: differences with intervals, never a bare number.

The unit of everything here is the unit: a feature or neuron counts once, whatever its number of contexts, and units are
what the bootstrap draws. Its intervals say what another draw of units would give on the same corpus and with the same
random contexts, which all units share; they do not say what another corpus would give.

Unscored units have no value here and cannot: their numbers are carried along, for a difference between kinds of which
one is often Unscored (a constant prediction, a refusal) is a difference between those that remain.

Intervals are expanded percentile intervals (Hesterberg 2015, "What teachers should know about the bootstrap"), called
`METHOD` in every `Interval` made here: n - 1 draws of n units per group, and percentiles at Student's instead of the
normal quantiles (for the smaller group), because plain percentile intervals are too narrow for small groups. Measured
by `tests/benchmarks/coverage_of_comparisons.py` on skewed scores (500 samples per row, 95% intervals, in per cent):

    features, neurons   difference of means   of medians   Cliff's delta
     10,  10            96                    98           88
     30,  30            96                    97           94
    100,  30            95                    97           93
    100, 100            94                    96           94

With ten units of either kind Cliff's delta is often 1 (no neuron above any feature), and then its interval is [1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from autointerp.seeds import generator
from autointerp.types import FloatArray, Interval, Reason, Unscored

__all__ = [
    "METHOD",
    "Estimate",
    "GroupComparison",
    "GroupSummary",
    "PairedComparison",
    "compare_groups",
    "compare_paired",
    "summarise",
]

METHOD = "expanded_percentile_bootstrap"
_CELLS_AT_ONCE = 4_000_000  # units x resamples held in memory at a time


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """The scores of one kind of unit. n_unscored is the caller's count; it is shown beside every mean."""

    n_scored: int
    n_unscored: int
    mean: Estimate
    median: Estimate

    @property
    def n_attempted(self) -> int:
        return self.n_scored + self.n_unscored


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Features less neurons.

    mean_difference, median_difference: in units of the score; cliffs_delta: chance that a feature scores above a
    neuron less the chance of the reverse, in [-1, 1] (the rank-biserial correlation of the test); mann_whitney_u:
    pairs in which the feature is above, ties counting half; p_value: of that test, two-sided.
    """

    n_features: int
    n_neurons: int
    n_unscored_features: int
    n_unscored_neurons: int
    mean_difference: Estimate
    median_difference: Estimate
    cliffs_delta: Estimate
    mann_whitney_u: float
    p_value: float


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Scores of units less the scores of the same units under a control.

    n_unpaired: units of which either score is missing (the caller's count); n_above, n_below, n_equal: units by the
    sign of their gap; sign_p_value: exact two-sided sign test, which assumes nothing of the gaps' distribution;
    wilcoxon_p_value: two-sided signed-rank test, sharper where gaps are about symmetric. Where every gap is 0, both
    are 1.
    """

    n_pairs: int
    n_unpaired: int
    mean_gap: Estimate
    median_gap: Estimate
    n_above: int
    n_below: int
    n_equal: int
    sign_p_value: float
    wilcoxon_p_value: float


def summarise(
    scores: ArrayLike, *, n_unscored: int, seed: int, resamples: int = 2000, level: float = 0.95
) -> GroupSummary | Unscored:
    """Mean and median of the scores [n] of one kind, with intervals; Unscored with fewer than two scores.

    Raises ValueError where a score is not finite.
    """
    values = _scores("scores", scores)
    if values.size < 2:
        return _too_few(values.size, "scored unit")
    draws = _Draws(resamples, level, values.size - 1, seed, "summary")
    mean, median = draws.estimates([_mean(values), _median(values)], [values.size])
    return GroupSummary(values.size, n_unscored, mean, median)


def compare_groups(
    features: ArrayLike,
    neurons: ArrayLike,
    *,
    n_unscored_features: int,
    n_unscored_neurons: int,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> GroupComparison | Unscored:
    """Scores of features [n] against scores of neurons [m]; Unscored where either group has fewer than two.

    Raises ValueError where a score is not finite.
    """
    first, second = _scores("features", features), _scores("neurons", neurons)
    if min(first.size, second.size) < 2:
        kind, size = min(("scored feature", first.size), ("scored neuron", second.size), key=lambda pair: pair[1])
        return _too_few(size, kind)
    draws = _Draws(resamples, level, min(first.size, second.size) - 1, seed, "groups")
    statistics = [_mean(first, second), _median(first, second), _cliffs_delta(first, second)]
    mean, median, delta = draws.estimates(statistics, [first.size, second.size])
    test = stats.mannwhitneyu(first, second, alternative="two-sided")
    return GroupComparison(
        n_features=first.size,
        n_neurons=second.size,
        n_unscored_features=n_unscored_features,
        n_unscored_neurons=n_unscored_neurons,
        mean_difference=mean,
        median_difference=median,
        cliffs_delta=delta,
        mann_whitney_u=float(test.statistic),
        p_value=float(test.pvalue),
    )


def compare_paired(
    scores: ArrayLike, control: ArrayLike, *, n_unpaired: int, seed: int, resamples: int = 2000, level: float = 0.95
) -> PairedComparison | Unscored:
    """Scores [n] against control scores [n] of the same units in the same order; Unscored with fewer than two pairs.

    Raises ValueError where lengths differ or a score is not finite.
    """
    own, other = _scores("scores", scores), _scores("control", control)
    if own.shape != other.shape:
        raise ValueError(f"{own.size} scores and {other.size} control scores: not one each")
    if own.size < 2:
        return _too_few(own.size, "unit scored with its control")
    gaps = own - other
    draws = _Draws(resamples, level, gaps.size - 1, seed, "paired")
    mean, median = draws.estimates([_mean(gaps), _median(gaps)], [gaps.size])
    above, below = int((gaps > 0).sum()), int((gaps < 0).sum())
    moved = above + below
    return PairedComparison(
        n_pairs=gaps.size,
        n_unpaired=n_unpaired,
        mean_gap=mean,
        median_gap=median,
        n_above=above,
        n_below=below,
        n_equal=gaps.size - moved,
        sign_p_value=float(stats.binomtest(above, moved).pvalue) if moved else 1.0,
        wilcoxon_p_value=float(stats.wilcoxon(gaps[gaps != 0]).pvalue) if moved else 1.0,
    )


# A statistic knows the scores; it is told which units were drawn, [rows, draws] indices per group, and gives [rows].
_Statistic = Callable[[list[NDArray[np.intp]]], FloatArray]


@dataclass(frozen=True, slots=True)
class _Draws:
    """How resamples are drawn: `purpose` keeps the draws of different comparisons of one seed apart."""

    resamples: int
    level: float
    freedom: int
    seed: int
    purpose: str

    def estimates(self, statistics: list[_Statistic], sizes: list[int]) -> list[Estimate]:
        """Each statistic of groups of these sizes, with its interval. All statistics see the same resamples."""
        rng = generator(self.seed, "bootstrap over units", self.purpose)
        rows = max(1, _CELLS_AT_ONCE // sum(sizes))
        replicates: list[list[FloatArray]] = [[] for _ in statistics]
        for start in range(0, self.resamples, rows):
            shapes = [(min(rows, self.resamples - start), size - 1) for size in sizes]
            picked = [rng.integers(0, size, shape) for size, shape in zip(sizes, shapes, strict=True)]
            for found, statistic in zip(replicates, statistics, strict=True):
                found.append(statistic(picked))
        everyone = [np.arange(size)[None] for size in sizes]
        return [
            self._estimate(float(statistic(everyone)[0]), np.concatenate(found))
            for statistic, found in zip(statistics, replicates, strict=True)
        ]

    def _estimate(self, value: float, replicates: FloatArray) -> Estimate:
        tail = float(special.ndtr(special.stdtrit(self.freedom, (1 - self.level) / 2)))
        low, high = np.quantile(replicates, [tail, 1 - tail]).tolist()
        return Estimate(value, Interval(min(low, value), max(high, value), self.level, METHOD))


def _mean(first: FloatArray, second: FloatArray | None = None) -> _Statistic:
    """The mean of one group, or the difference of two."""
    return _difference(lambda values: np.asarray(values.mean(axis=1)), first, second)


def _median(first: FloatArray, second: FloatArray | None = None) -> _Statistic:
    """The median of one group, or the difference of two."""
    return _difference(lambda values: np.asarray(np.median(values, axis=1)), first, second)


def _difference(
    summary: Callable[[FloatArray], FloatArray], first: FloatArray, second: FloatArray | None
) -> _Statistic:
    def statistic(picked: list[NDArray[np.intp]]) -> FloatArray:
        above = summary(first[picked[0]])
        return above if second is None else above - summary(second[picked[1]])

    return statistic


def _cliffs_delta(first: FloatArray, second: FloatArray) -> _Statistic:
    """Pairs above less pairs below, by counting the drawn units of `second` under each place of its sorted order."""
    place = np.argsort(np.argsort(second, kind="stable"))
    under = [np.searchsorted(np.sort(second), first, side=side) for side in ("left", "right")]

    def statistic(picked: list[NDArray[np.intp]]) -> FloatArray:
        rows, draws = picked[1].shape
        cell = place[picked[1]] + second.size * np.arange(rows)[:, None]
        drawn = np.bincount(cell.ravel(), minlength=rows * second.size).reshape(rows, second.size)
        counted = np.pad(np.cumsum(drawn, axis=1), ((0, 0), (1, 0)))
        below_or_half = sum(np.take_along_axis(counted, edge[picked[0]], axis=1).mean(axis=1) for edge in under)
        return np.asarray(below_or_half / draws - 1, dtype=np.float64)

    return statistic


def _scores(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be one series of finite scores: an Unscored unit is counted, not passed")
    return array


def _too_few(size: int, what: str) -> Unscored:
    return Unscored(Reason.UNDEFINED, f"{size} {what}{'' if size == 1 else 's'}: a comparison needs two or more")
