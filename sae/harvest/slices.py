"""The 13 equal slices of [0, max]: how many tokens each stands for, and a uniform sample of each.

Why the sample is uniform. A slice is cut into parts by the strata, and the histogram says exactly how many tokens each
part holds. First it is drawn how many of the sample come from each part, as if tokens were drawn one by one from all
of the slice without replacement. Then so many of the part's tokens of lowest priority are taken: a stratum's tokens
below some bound of priority are all held, so what is held of a part is the beginning of a uniformly random order of
it, and any so many first ones are a uniform sample. A sample falls short only where a part has more to give than is
held of it: where the rest of its stratum, outside the slice, is many times as dense.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sae.harvest.keeper import Kept, rank_in_group
from sae.harvest.tally import STRATA, UnitTally, bin_of
from sae.store.layout import BINS, INTERVALS

_BINS_PER_STRATUM = BINS // STRATA
_UNITS_AT_ONCE = 1024


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
    return np.diff(np.take_along_axis(_counts_below(histogram), edges, axis=1), axis=1)


def sample_slices(
    tally: UnitTally, edges: NDArray[np.int64], per_interval: int, block_tokens: int, rng: np.random.Generator
) -> tuple[Kept, NDArray[np.int64]]:
    """Up to `per_interval` tokens of each slice of each unit, and the slice of each.

    Ordered by unit, then slice, then at random. Tokens of a block that the slice has sampled already give way where
    they can, and come last where they cannot.
    """
    held = tally.samples.settle()
    place = bin_of(held.value, tally.scale[held.unit])
    stratum, interval = place // _BINS_PER_STRATUM, (place >= edges[held.unit, 1:-1].T).sum(axis=0)
    group = held.unit * INTERVALS + interval
    repeated = _repeats(group, held.position // block_tokens, held.key)
    part = group * STRATA + stratum
    order = np.lexsort((held.position, held.key, repeated, part))
    asked = _parts_of_samples(tally.histogram, edges, per_interval, rng).reshape(-1)
    taken = order[rank_in_group(part[order]) < asked[part[order]]]
    # Priorities would put the tokens of sparse parts, of which higher ones are held, behind the others.
    shuffled = np.lexsort((rng.permutation(len(taken)), repeated[taken], group[taken]))
    return held[taken[shuffled]], interval[taken[shuffled]]


def _parts_of_samples(
    histogram: NDArray[np.int64], edges: NDArray[np.int64], per_interval: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """How many tokens of each slice's sample come from each stratum, [n_units, 13, STRATA]."""
    asked = np.zeros((len(histogram), INTERVALS, STRATA), np.int32)
    bounds = np.arange(STRATA + 1) * _BINS_PER_STRATUM
    for start in range(0, len(histogram), _UNITS_AT_ONCE):
        rows = slice(start, start + _UNITS_AT_ONCE)
        edge = edges[rows, :, None]
        low, high = np.maximum(edge[:, :-1], bounds[:-1]), np.minimum(edge[:, 1:], bounds[1:])
        below = _counts_below(histogram[rows])[:, None]
        sizes = np.take_along_axis(below, np.maximum(low, high), axis=2) - np.take_along_axis(below, low, axis=2)
        asked[rows] = draw_parts(sizes, per_interval, rng)
    return asked


def draw_parts(sizes: NDArray[np.int64], draws: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """How many of so many draws without replacement fall into each part, for parts of sizes [..., parts].

    Where all parts together are no larger than `draws`, everything is drawn.
    """
    left, drawn = sizes.reshape(-1, sizes.shape[-1]).copy(), np.zeros(sizes.shape, np.int32)
    flat = drawn.reshape(left.shape)
    for _ in range(draws):
        total = left.sum(axis=1)
        number = rng.integers(0, np.maximum(total, 1))
        rows = np.flatnonzero(total)
        part = (left.cumsum(axis=1) <= number[:, None]).sum(axis=1)[rows]
        flat[rows, part] += 1
        left[rows, part] -= 1
    return drawn


def _counts_below(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tokens below each edge of the bins, [n_units, BINS + 1]."""
    return np.pad(histogram.cumsum(axis=1), ((0, 0), (1, 0)))


def _repeats(group: NDArray[np.int64], block: NDArray[np.int64], key: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether an entry of the same group, of the same block and of lower key exists."""
    order = np.lexsort((key, block, group))
    same = (np.diff(group[order], prepend=-1) == 0) & (np.diff(block[order], prepend=-1) == 0)
    repeated = np.empty(len(group), np.bool_)
    repeated[order] = same
    return repeated
