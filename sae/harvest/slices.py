"""The 13 equal slices of [0, max]: how many tokens each stands for, and a uniform sample of each.

Why the sample is uniform. Priorities put the tokens of a slice into a uniformly random order. A slice overlaps some
strata, of each of which all tokens up to a bound of priority are held; so up to the lowest of these bounds all tokens
of the slice are held. What is taken of it, the tokens of lowest priority, is therefore the beginning of a uniformly
random order of the whole slice. It falls short of what was asked only where the slice holds fewer tokens, or where
tokens are many times denser in a part of an overlapped stratum that lies outside than in the slice itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sae.harvest.keeper import NO_LIMIT, Kept, rank_in_group
from sae.harvest.tally import STRATA, UnitTally, bin_of
from sae.store.layout import BINS, INTERVALS

_BINS_PER_STRATUM = BINS // STRATA


def edge_bins(highest: NDArray[np.float32], scale: NDArray[np.float64]) -> NDArray[np.int64]:
    """Edges [n_units, 14] of the slices in bins of the histogram: slice i is bins edges[i] ... edges[i + 1] - 1.

    The nearest bin edge to i / 13 of the maximum; the last is the end of the bin that holds the maximum. All 0 for a
    unit that never fired.
    """
    fired = np.flatnonzero(scale)
    edges = np.zeros((len(scale), INTERVALS + 1), np.int64)
    top = highest[fired].astype(np.float64) / scale[fired] * BINS
    edges[fired] = np.rint(top[:, None] * np.arange(INTERVALS + 1) / INTERVALS).astype(np.int64)
    edges[fired, -1] = np.ceil(top).astype(np.int64)
    return edges


def slice_counts(histogram: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tokens in each slice, [n_units, 13], from the histogram [n_units, BINS]; exact."""
    below = np.concatenate([np.zeros((len(histogram), 1), np.int64), histogram.cumsum(axis=1)], axis=1)
    return np.diff(np.take_along_axis(below, edges, axis=1), axis=1)


def sample_slices(
    tally: UnitTally, edges: NDArray[np.int64], per_interval: int, block_tokens: int
) -> tuple[Kept, NDArray[np.int64]]:
    """Up to `per_interval` tokens of each slice of each unit, and the slice of each.

    Ordered by unit, then slice, then priority; but tokens of a block that the slice has sampled already come last, so
    that they are taken only where there is nothing else.
    """
    held = tally.samples.settle()
    place = bin_of(held.value, tally.scale[held.unit])
    interval = (place[:, None] >= edges[held.unit, 1:-1]).sum(axis=1)
    complete = held.key <= _complete_up_to(tally, edges)[held.unit, interval]
    held, group = held[complete], (held.unit * INTERVALS + interval)[complete]
    repeated = _repeats(group, held.position // block_tokens, held.key)
    order = np.lexsort((held.position, held.key, repeated, group))
    order = order[rank_in_group(group[order]) < per_interval]
    return held[order], group[order] % INTERVALS


def _complete_up_to(tally: UnitTally, edges: NDArray[np.int64]) -> NDArray[np.uint32]:
    """For each slice, [n_units, 13]: the priority up to which all its tokens are held."""
    per_stratum = tally.histogram.reshape(tally.n_units, STRATA, -1).sum(axis=2)
    limits = tally.samples.limits.reshape(tally.n_units, STRATA)
    bound = np.where(per_stratum > tally.samples.keep, limits, NO_LIMIT)
    first, last = edges[:, :-1] // _BINS_PER_STRATUM, (edges[:, 1:] - 1) // _BINS_PER_STRATUM
    lowest = np.full(first.shape, NO_LIMIT, np.uint32)
    for stratum in range(STRATA):
        overlapped = (first <= stratum) & (stratum <= last)
        lowest = np.where(overlapped, np.minimum(lowest, bound[:, stratum, None]), lowest)
    return lowest


def _repeats(group: NDArray[np.int64], block: NDArray[np.int64], key: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether an entry of the same group, of the same block and of lower key exists."""
    order = np.lexsort((key, block, group))
    same = (np.diff(group[order], prepend=-1) == 0) & (np.diff(block[order], prepend=-1) == 0)
    repeated = np.empty(len(group), np.bool_)
    repeated[order] = same
    return repeated
