"""Which windows are the same text: they belong in one split, and count as one in a bootstrap.

Two windows are joined where
  - they overlap in the corpus, or
  - they share a run of half a window (at least six tokens): one passage that stands in two documents, seen at
    another offset, or
  - the bags of their tokens have a Jaccard similarity of 4/5 or more: one passage with a few tokens changed, such as
    two copies of a licence with different years. (At nine tokens: eight of them agree. At 64: 57.)
A run shorter than six tokens is a phrase ("on the other hand,") and not a copy. Joining is transitive: windows that
are each like a third one are in one cluster, also where that third record is not drawn.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autointerp.records.pool import NO_POSITION, PAD

__all__ = ["SHORTEST_RUN", "SIMILAR", "cluster"]

SIMILAR = (4, 5)
"""Jaccard similarity from which two bags of tokens are near-duplicates, as a fraction (so that it is exact)."""

SHORTEST_RUN = 6
"""No shared run of fewer tokens joins two windows."""

Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that a token counts in every bit of a run's hash


def cluster(
    tokens: NDArray[np.int32], lengths: NDArray[np.int64], positions: NDArray[np.int64], window: int
) -> NDArray[np.int64]:
    """The cluster of each of n windows: the number of its first member, [n].

    tokens [n, width]: token numbers from 0, `PAD` behind the end; lengths [n]; positions [n]: offset of the first token
    in the corpus, or `NO_POSITION`; window: tokens of a whole window (windows at an edge are shorter).
    """
    if not len(tokens):
        return np.empty(0, np.int64)
    pairs = (_overlapping(positions, lengths), _sharing_a_run(tokens, max(SHORTEST_RUN, window // 2)), _similar(tokens))
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return _components(left, right, len(tokens))


def _components(left: NDArray[np.int64], right: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The lowest member of each node's component, where left[i] and right[i] are joined."""
    lowest = np.arange(n)
    while (lowest[left] != lowest[right]).any():
        joined = np.minimum(lowest[left], lowest[right])
        np.minimum.at(lowest, left, joined)
        np.minimum.at(lowest, right, joined)
        lowest = lowest[lowest]  # what a node points to may itself have been lowered: two steps at once
    return lowest


def _overlapping(positions: NDArray[np.int64], lengths: NDArray[np.int64]) -> Pairs:
    """Windows with a token of the corpus in common, as links between neighbours."""
    known = np.flatnonzero(positions != NO_POSITION)
    order = known[np.argsort(positions[known], kind="stable")]
    reach = np.maximum.accumulate((positions + lengths)[order])
    touching = positions[order][1:] < reach[:-1]
    return order[:-1][touching], order[1:][touching]


def _sharing_a_run(tokens: NDArray[np.int32], run: int) -> Pairs:
    """Windows in which the same `run` tokens follow one another, as links between neighbours in the order of hashes."""
    n, width = tokens.shape
    if width < run:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    hashes = _run_hashes(tokens, run)
    whole = tokens[:, run - 1 :] != PAD
    owner = np.broadcast_to(np.arange(n)[:, None], hashes.shape)[whole]
    flat = hashes[whole]
    order = np.argsort(flat, kind="stable")
    same = flat[order][1:] == flat[order][:-1]
    return _distinct(owner[order[:-1]][same], owner[order[1:]][same], n)


def _run_hashes(tokens: NDArray[np.int32], run: int) -> NDArray[np.uint64]:
    """A 64-bit polynomial hash of each run of `run` tokens: [n, width - run + 1]."""
    mixed = (tokens.astype(np.int64) + 2).astype(np.uint64) * _MULTIPLIER
    mixed ^= mixed >> np.uint64(29)
    hashes = np.zeros((len(tokens), tokens.shape[1] - run + 1), np.uint64)
    for offset in range(run):
        hashes = hashes * _MULTIPLIER + mixed[:, offset : offset + hashes.shape[1]]
    return hashes


def _similar(tokens: NDArray[np.int32]) -> Pairs:
    """Windows whose bags of tokens have a Jaccard similarity of `SIMILAR` or more."""
    sizes = (tokens != PAD).sum(axis=1).astype(np.float32)
    least, of = SIMILAR
    # shared / (size + size - shared) >= least / of, in whole numbers below 2 ** 24: exact in float32.
    enough = least * np.add.outer(sizes, sizes)
    left, right = np.nonzero((of + least) * _bag_intersections(tokens) >= enough)
    once = left < right
    return left[once], right[once]


def _bag_intersections(tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """How many tokens each two windows have in common, repeats counted: [n, n]. The diagonal is not filled in.

    A bag is made a set by numbering repeats: the second "the" of a window is another element than the first. Elements
    that only one window has cannot be shared and are left out.
    """
    n, width = tokens.shape
    ordered = np.sort(tokens, axis=1)
    places = np.broadcast_to(np.arange(width), ordered.shape)
    begins = np.ones(ordered.shape, bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    repeat = places - np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    real = ordered != PAD
    elements = (ordered.astype(np.int64) * width + repeat)[real]
    _, column, count = np.unique(elements, return_inverse=True, return_counts=True)
    common = count > 1
    number = np.cumsum(common) - 1
    member = common[column]
    incidence = np.zeros((n, int(common.sum())), np.float32)
    incidence[np.nonzero(real)[0][member], number[column][member]] = 1
    return incidence @ incidence.T


def _distinct(left: NDArray[np.int64], right: NDArray[np.int64], n: int) -> Pairs:
    codes = np.unique(left * n + right)
    return codes // n, codes % n
