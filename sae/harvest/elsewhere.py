"""A unit's top tokens in other contexts (TM, "Automated Interpretability": out-of-context examples)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sae.harvest.keeper import Kept, LowestPerGroup
from sae.harvest.priorities import hashes, key_for, priorities
from sae.harvest.records import TopContexts, window_starts
from sae.harvest.scan import Text

_BLOCKS_AT_ONCE = 4096


class Occurrences:
    """A uniform sample of up to `per_token` occurrences of each of the `wanted` token ids, from the tokens alone.

    The sample of a token is the same whoever asks, so units with a common top token are shown in the same contexts.
    """

    def __init__(self, text: Text, wanted: NDArray[np.int64], per_token: int, seed: int) -> None:
        # With a key of its own: the samples of the slices are drawn by another order of the same positions.
        key = key_for(seed, "harvest occurrences")
        beyond = np.int64(wanted.max(initial=-1) + 1)  # stands for every higher id
        is_wanted = np.zeros(int(beyond) + 1, np.bool_)
        is_wanted[wanted] = True
        keeper = LowestPerGroup(len(is_wanted), per_token, lambda token, value: token)
        for start in range(0, len(text.rows), _BLOCKS_AT_ONCE):
            rows = text.rows[start : start + _BLOCKS_AT_ONCE]
            tokens = text.blocks[rows].reshape(-1)
            here = np.flatnonzero(is_wanted[np.minimum(tokens, beyond)])
            token, position = tokens[here].astype(np.int64), text.positions(rows)[here]
            priority = priorities(hashes(position, key), np.zeros(1, np.uint32))
            enters = np.flatnonzero(priority < keeper.limits[token])
            keeper.offer(Kept(token[enters], priority[enters], position[enters], np.ones(len(enters), np.float32)))
        held = keeper.settle()
        self._positions = held.position
        self._ends = np.searchsorted(held.unit, np.arange(len(is_wanted) + 1))

    def of(self, token: int) -> NDArray[np.int64]:
        """Offsets of the sampled occurrences of a wanted token, in random order."""
        return self._positions[self._ends[token] : self._ends[token + 1]]


def out_of_context(
    top: TopContexts, text: Text, window: int, per_unit: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Unit and offset of up to `per_unit` occurrences of each unit's top tokens outside its top contexts.

    Outside means that the windows share no token. In rounds: one occurrence of each top token, then a second one of
    each, and so on, so that they are spread over the tokens as evenly as the corpus allows.
    """
    n_units = len(top.tokens)
    bounds = np.searchsorted(top.peaks.unit, np.arange(n_units + 1))
    # Some of the sampled occurrences may lie in top contexts.
    most = per_unit + 2 * int(np.diff(bounds).max(initial=0))
    wanted = np.unique(top.tokens[top.tokens >= 0])
    occurrences = Occurrences(text, wanted, most, seed)
    starts = {token: window_starts(occurrences.of(token), window, text.block_tokens) for token in wanted.tolist()}
    units, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for unit in np.flatnonzero(top.tokens[:, 0] >= 0):
        taken = np.sort(top.start[bounds[unit] : bounds[unit + 1]])
        found = []
        for token in top.tokens[unit][top.tokens[unit] >= 0].tolist():
            outside = ~overlaps(starts[token], taken, window)
            found.append(occurrences.of(token)[outside][:per_unit])
        rounds = np.concatenate([np.arange(len(each)) for each in found])
        order = np.argsort(rounds, kind="stable")[:per_unit]
        units.append(np.full(len(order), unit))
        places.append(np.concatenate(found)[order])
    return np.concatenate(units), np.concatenate(places)


def overlaps(starts: NDArray[np.int64], others: NDArray[np.int64], window: int) -> NDArray[np.bool_]:
    """Whether each window of `window` tokens shares a token with one of the others; `others` is sorted."""
    return np.searchsorted(others, starts - window, side="right") < np.searchsorted(others, starts + window)
