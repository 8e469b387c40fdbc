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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

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
_CELLS_DRAWN_AT_ONCE = 4_000_000  # units x resamples: with two groups it decides the draws, so it stays as it is
_CELLS_AT_ONCE = 250_000  # of them worked on at a time: arrays that stay in the cache


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
    mean, median = draws.estimates([_mean, _median], [values])
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
    mean, median, delta = draws.estimates([_mean, _median, _cliffs_delta(first, second)], [first, second])
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
    mean, median = draws.estimates([_mean, _median], [gaps])
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


class _Drawn:
    """Resamples of one group: rows of places in its values [rows, draws]."""

    def __init__(self, group: _Group, picked: NDArray[np.int32]) -> None:
        self._group, self._picked = group, picked

    @property
    def n_draws(self) -> int:
        return int(self._picked.shape[1])

    def mean(self) -> FloatArray:
        return np.asarray(self._group.values[self._picked].mean(axis=1))

    def median(self) -> FloatArray:
        """Found by counting, not by sorting: half of the draws lie at or below it."""
        middles = ((self.n_draws - 1) // 2, self.n_draws // 2)
        low, high = (self._group.ascending[(self.counted <= middle).sum(axis=1)] for middle in middles)
        return np.asarray((low + high) / 2)

    @cached_property
    def counted(self) -> NDArray[np.int64]:
        """How many draws of each row are the k-th smallest value of the group or one before it [rows, n]."""
        rows, size = len(self._picked), self._group.values.size
        cell = self._group.place[self._picked] + size * np.arange(rows)[:, None]
        drawn = np.bincount(cell.ravel(), minlength=rows * size).reshape(rows, size)
        return np.cumsum(drawn, axis=1)


class _Group:
    """values [n] as they came; ascending: sorted; place: of each value among them [n]."""

    def __init__(self, values: FloatArray) -> None:
        order = np.argsort(values, kind="stable")
        self.values, self.ascending = values, values[order]
        self.place = np.empty(values.size, dtype=np.int64)
        self.place[order] = np.arange(values.size)


# A statistic of some resamples of one group, or of two: [rows].
_Statistic = Callable[[Sequence[_Drawn]], FloatArray]


@dataclass(frozen=True, slots=True)
class _Draws:
    """How resamples are drawn: `purpose` keeps the draws of different comparisons of one seed apart."""

    resamples: int
    level: float
    freedom: int
    seed: int
    purpose: str

    def estimates(self, statistics: list[_Statistic], values: list[FloatArray]) -> list[Estimate]:
        """Each statistic of groups of these values, with its interval. All statistics see the same resamples."""
        groups = [_Group(one) for one in values]
        replicates: list[list[FloatArray]] = [[] for _ in statistics]
        for drawn in self._drawn(groups):
            for found, statistic in zip(replicates, statistics, strict=True):
                found.append(statistic(drawn))
        everyone = [_Drawn(group, np.arange(group.values.size, dtype=np.int32)[None]) for group in groups]
        return [
            self._estimate(float(statistic(everyone)[0]), np.concatenate(found))
            for statistic, found in zip(statistics, replicates, strict=True)
        ]

    def _drawn(self, groups: list[_Group]) -> Iterator[list[_Drawn]]:
        """All resamples, a block at a time: those of one block of draws come group after group from the generator."""
        rng = generator(self.seed, "bootstrap over units", self.purpose)
        sizes = [group.values.size for group in groups]
        rows = max(1, _CELLS_DRAWN_AT_ONCE // sum(sizes))
        few = max(1, _CELLS_AT_ONCE // sum(sizes))
        for start in range(0, self.resamples, rows):
            n_rows = min(rows, self.resamples - start)
            picked = [rng.integers(0, size, (n_rows, size - 1), dtype=np.int32) for size in sizes]
            for first in range(0, n_rows, few):
                yield [_Drawn(group, some[first : first + few]) for group, some in zip(groups, picked, strict=True)]

    def _estimate(self, value: float, replicates: FloatArray) -> Estimate:
        tail = float(special.ndtr(special.stdtrit(self.freedom, (1 - self.level) / 2)))
        low, high = np.quantile(replicates, [tail, 1 - tail]).tolist()
        return Estimate(value, Interval(min(low, value), max(high, value), self.level, METHOD))


def _mean(drawn: Sequence[_Drawn]) -> FloatArray:
    """The mean of one group, or the difference of two."""
    return _difference([one.mean() for one in drawn])


def _median(drawn: Sequence[_Drawn]) -> FloatArray:
    """The median of one group, or the difference of two."""
    return _difference([one.median() for one in drawn])


def _difference(found: list[FloatArray]) -> FloatArray:
    return found[0] if len(found) == 1 else found[0] - found[1]


def _cliffs_delta(first: FloatArray, second: FloatArray) -> _Statistic:
    """Pairs above less pairs below, by counting the drawn units of `second` under each place of its sorted order."""
    under = [np.searchsorted(np.sort(second), np.sort(first), side=side) for side in ("left", "right")]

    def statistic(drawn: Sequence[_Drawn]) -> FloatArray:
        above, below = drawn
        times = np.diff(above.counted, axis=1, prepend=0)
        counted = np.pad(below.counted, ((0, 0), (1, 0)))
        below_or_half = sum((times * counted[:, edge]).sum(axis=1) / above.n_draws for edge in under)
        return np.asarray(below_or_half / below.n_draws - 1, dtype=np.float64)

    return statistic


def _scores(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be one series of finite scores: an Unscored unit is counted, not passed")
    return array


def _too_few(size: int, what: str) -> Unscored:
    return Unscored(Reason.UNDEFINED, f"{size} {what}{'' if size == 1 else 's'}: a comparison needs two or more")
