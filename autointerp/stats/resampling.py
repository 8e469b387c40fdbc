"""Which tokens are resampled together, within which strata, and how often each is drawn.

Tokens of one context are not independent, nor are contexts that overlap or nearly repeat one another: they share a
cluster (see `ActivationRecord.cluster`), and clusters are what is drawn. How many top, random, slice and out-of-context
records a unit has is fixed by the protocol, not by chance, so clusters are drawn within these strata and every resample
has the design of the sample.

Each stratum of k clusters gets k - 1 draws, and each draw counts k / (k - 1) times (Rao and Wu 1988, "Resampling
inference with complex survey data"). The usual k draws make the variance of a mean too small by the factor (k - 1) / k,
which is a fifth with the five contexts per stratum of LMEN.

Rules for what does not fit the scheme:
- A cluster with records of two strata belongs as a whole to the stratum that most of its tokens come from (a tie: the
  first by name). It is drawn once, so it never straddles strata. `records` takes one record per cluster wherever it
  can, so this is rare.
- A stratum of one cluster has no variance of its own to show. All such strata are drawn as one; if that still holds one
  cluster, it joins the stratum with the fewest clusters (a tie: the first by name).
- The order of the records does not matter: clusters and strata are numbered by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.types import FloatArray, Stratum

__all__ = ["Design", "design_of", "stratum_group"]


def stratum_group(stratum: Stratum) -> str:
    """The name under which records of a stratum are resampled: top, slices, random or out_of_context.

    The slices are one group: TM takes two records of each of twelve, too few to show a variance slice by slice. Drawing
    them together adds the differences between slices to the variance, which makes intervals a little too wide, not too
    narrow.
    """
    return "slices" if stratum.slice is not None else stratum.name.lower()


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """The resampling units of a sample.

    cluster: of each record, 0 .. n_clusters - 1 [n_records]; strata: the clusters of each stratum, two or more in each
    (except where the whole sample is one cluster).
    """

    cluster: NDArray[np.intp]
    strata: tuple[NDArray[np.intp], ...]

    @property
    def n_clusters(self) -> int:
        return sum(len(stratum) for stratum in self.strata)

    @property
    def degrees_of_freedom(self) -> int:
        """Clusters less strata: 8 for five top and five random contexts."""
        return self.n_clusters - len(self.strata)

    def draw(self, resamples: int, generator: np.random.Generator) -> FloatArray:
        """Multiplicities [resamples, n_clusters] >= 0; in each row those of a stratum of k clusters sum to k."""
        drawn = np.empty((resamples, self.n_clusters))
        for stratum in self.strata:
            drawn[:, stratum] = _draw(len(stratum), resamples, generator)
        return drawn


def design_of(clusters: Sequence[str], strata: Sequence[str], sizes: Sequence[int]) -> Design:
    """The design of a sample of records: the cluster, stratum and number of tokens of each, all [n_records >= 1]."""
    names, cluster = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    stratum_names, stratum = np.unique(np.asarray(strata, dtype=str), return_inverse=True)
    tokens = np.zeros((names.size, stratum_names.size))
    np.add.at(tokens, (cluster, stratum), sizes)
    home = tokens.argmax(axis=1)  # the first of equals, hence the first by name
    groups = [np.flatnonzero(home == index) for index in range(stratum_names.size)]
    return Design(cluster=cluster.astype(np.intp), strata=tuple(_collapsed([group for group in groups if group.size])))


def _collapsed(groups: list[NDArray[np.intp]]) -> list[NDArray[np.intp]]:
    alone = [group for group in groups if group.size == 1]
    rest = [group for group in groups if group.size > 1]
    if not alone:
        return rest
    merged = np.sort(np.concatenate(alone))
    if merged.size > 1 or not rest:
        return [*rest, merged]
    smallest = min(range(len(rest)), key=lambda index: rest[index].size)
    rest[smallest] = np.sort(np.concatenate([rest[smallest], merged]))
    return rest


def _draw(size: int, resamples: int, generator: np.random.Generator) -> FloatArray:
    draws = size - 1
    picked = generator.integers(0, size, (resamples, draws)) + size * np.arange(resamples)[:, None]
    counts = np.bincount(picked.ravel(), minlength=resamples * size).reshape(resamples, size)
    return counts.astype(np.float64) * (size / draws)
