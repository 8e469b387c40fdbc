"""Every metric on many resamples at once.

A resample gives each cluster of tokens a multiplicity: how often it is drawn, not necessarily a whole number. The
functions here take multiplicities [resamples, clusters] and give the metric of each resample [resamples], NaN where
it does not exist: NaN is the inner language of this module and of `intervals`, and never leaves them. The results are
those of the weighted metrics of `correlation`, with each token's weight multiplied by its cluster's multiplicity.

Pearson and the explained shares need only sums over each cluster, so a resample costs one row of a small matrix
product. Spearman must rank every resample anew. The weighted mid-rank of a token is linear in the multiplicities
(cluster c adds its own weight below the token), so all ranks of all resamples are a matrix product too; there is no
sorting inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.stats.correlation import centred
from autointerp.stats.series import Pair
from autointerp.types import FloatArray

__all__ = ["Clustered", "replicate"]

# A resample in which a series keeps less than this share of its variance in the whole sample counts as constant:
# what is left is rounding (sums of squares carry about 1e-15), not variation.
_LEAST_VARIANCE = 1e-10
_ROWS_AT_ONCE = 100  # resamples that Spearman ranks at a time: bounds its memory (rows x tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Clustered:
    """A pair of series [n] with the cluster (0 .. n_clusters - 1) of each token [n]."""

    pair: Pair
    cluster: NDArray[np.intp]
    n_clusters: int

    def sums(self, *columns: FloatArray) -> FloatArray:
        """The weighted sums over each cluster [n_clusters, columns] of columns [n]."""
        weights = self.pair.weights
        count = self.n_clusters
        return np.stack([np.bincount(self.cluster, weights * column, count) for column in columns], axis=-1)


def replicate(metric: str, sample: Clustered, multiplicity: FloatArray) -> FloatArray:
    """The metric [resamples] (NaN: undefined there) under multiplicities [resamples, clusters], which are >= 0
    with one above 0 in every row.

    The metric must exist for the sample as it is. Raises KeyError for an unknown one.
    """
    values = _REPLICATES[metric](sample, multiplicity)
    return np.where(np.isfinite(values), values, np.nan)


def _pearson(sample: Clustered, multiplicity: FloatArray) -> FloatArray:
    a, b = (_standardised(series, sample.pair.weights) for series in (sample.pair.truth, sample.pair.prediction))
    one = np.ones_like(a)
    totals = multiplicity @ sample.sums(one, a, b, a * a, b * b, a * b)
    n, sum_a, sum_b, sum_aa, sum_bb, sum_ab = totals.T
    return _quotient(sum_ab - sum_a * sum_b / n, sum_aa - sum_a**2 / n, sum_bb - sum_b**2 / n, n)


def _spearman(sample: Clustered, multiplicity: FloatArray) -> FloatArray:
    return _RankSums.of(sample).correlations(multiplicity)


@dataclass(frozen=True, slots=True, eq=False)
class _RankSums:
    """What the mid-ranks of any resample are made of. Tokens are ordered by their truth, so that ties are neighbours.

    cluster, weights: of each token [n]; truth_starts: first token of each distinct truth [u]; truth_weight: how much
    weight each cluster has at each distinct truth [clusters, u]; prediction_rank: what each cluster adds to the
    mid-rank of each token's prediction [clusters, n].
    """

    cluster: NDArray[np.intp]
    weights: FloatArray
    truth_starts: NDArray[np.intp]
    truth_weight: FloatArray
    prediction_rank: FloatArray

    @classmethod
    def of(cls, sample: Clustered) -> _RankSums:
        distinct, truth_of = np.unique(sample.pair.truth, return_inverse=True)
        order = np.argsort(truth_of, kind="stable")
        predictions, prediction_of = np.unique(sample.pair.prediction, return_inverse=True)
        weight = _weight_at(sample, prediction_of, predictions.size)
        rank = np.cumsum(weight, axis=1) - weight / 2
        return cls(
            cluster=sample.cluster[order],
            weights=sample.pair.weights[order],
            truth_starts=np.searchsorted(truth_of[order], np.arange(distinct.size)),
            truth_weight=_weight_at(sample, truth_of, distinct.size),
            prediction_rank=rank[:, prediction_of[order]],
        )

    def correlations(self, multiplicity: FloatArray) -> FloatArray:
        """The correlation under each row of multiplicities, block by block in two buffers that are used again.

        The time goes into memory traffic: blocks that stay in the cache and need no fresh pages halve it.
        """
        ranks, weighted = (np.empty((_ROWS_AT_ONCE, self.weights.size)) for _ in range(2))
        found = [
            self._block(rows, ranks[: len(rows)], weighted[: len(rows)])
            for rows in np.split(multiplicity, range(_ROWS_AT_ONCE, len(multiplicity), _ROWS_AT_ONCE))
        ]
        return np.concatenate(found)

    def _block(self, multiplicity: FloatArray, ranks: FloatArray, weighted: FloatArray) -> FloatArray:
        tied = multiplicity @ self.truth_weight
        total = tied.sum(axis=1)
        middle = (total / 2)[:, None]  # the weighted mean of mid-ranks is always half the total weight
        truth_ranks = np.cumsum(tied, axis=1)
        truth_ranks -= tied / 2 + middle
        np.matmul(multiplicity, self.prediction_rank, out=ranks)
        ranks -= middle
        np.take(multiplicity, self.cluster, axis=1, out=weighted, mode="clip")  # "clip": unbuffered; none is outside
        weighted *= self.weights
        weighted *= ranks
        per_truth = np.add.reduceat(weighted, self.truth_starts, axis=1)
        return _quotient(
            np.einsum("bu,bu->b", per_truth, truth_ranks),
            np.einsum("bu,bu,bu->b", tied, truth_ranks, truth_ranks),
            np.einsum("bn,bn->b", weighted, ranks),
            total**3 / 12,  # the largest sum of squares that ranks of this weight can have: no ties at all
        )


def _weight_at(sample: Clustered, value_of: NDArray[np.intp], n_values: int) -> FloatArray:
    cell = sample.cluster * n_values + value_of
    flat = np.bincount(cell, sample.pair.weights, sample.n_clusters * n_values).astype(np.float64, copy=False)
    return flat.reshape(sample.n_clusters, n_values)


def _quotient(product: FloatArray, spread_a: FloatArray, spread_b: FloatArray, scale: FloatArray) -> FloatArray:
    least = _LEAST_VARIANCE * scale
    defined = (spread_a > least) & (spread_b > least)
    below = np.sqrt(np.where(defined, spread_a, 1.0)) * np.sqrt(np.where(defined, spread_b, 1.0))
    return np.where(defined, np.clip(product / below, -1.0, 1.0), np.nan)


def _standardised(series: FloatArray, weights: FloatArray) -> FloatArray:
    deviation = centred(series, weights)
    standard: FloatArray = deviation / np.sqrt(np.average(deviation**2, weights=weights))
    return standard


def _r2_centred(sample: Clustered, multiplicity: FloatArray) -> FloatArray:
    truth, error = _truth_and_error(sample.pair)
    truth = truth - np.average(truth, weights=sample.pair.weights)
    totals = multiplicity @ sample.sums(np.ones_like(truth), truth, truth**2, error**2)
    n, first, second, squared_error = totals.T
    whole = sample.pair.weights @ truth**2 / sample.pair.weights.sum()
    return _one_minus(squared_error, second - first**2 / n, _LEAST_VARIANCE * whole * n)


def _r2_uncentred(sample: Clustered, multiplicity: FloatArray) -> FloatArray:
    truth, error = _truth_and_error(sample.pair)
    squared_error, second = (multiplicity @ sample.sums(error**2, truth**2)).T
    return _one_minus(squared_error, second, 0.0)


def _abs_dev_explained(sample: Clustered, multiplicity: FloatArray) -> FloatArray:
    truth, error = _truth_and_error(sample.pair)
    deviation, size = (multiplicity @ sample.sums(np.abs(error), np.abs(truth))).T
    return _one_minus(deviation, size, 0.0)


def _truth_and_error(pair: Pair) -> tuple[FloatArray, FloatArray]:
    scale = np.abs(pair.truth).max()
    return pair.truth / scale, (pair.truth - pair.prediction) / scale


def _one_minus(error: FloatArray, spread: FloatArray, least: FloatArray | float) -> FloatArray:
    defined = spread > least
    return np.where(defined, 1 - error / np.where(defined, spread, 1.0), np.nan)


_REPLICATES: dict[str, Callable[[Clustered, FloatArray], FloatArray]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "r2_centred": _r2_centred,
    "r2_uncentred": _r2_uncentred,
    "abs_dev_explained": _abs_dev_explained,
}
