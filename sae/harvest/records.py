"""Which windows of the corpus each unit is shown by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sae.harvest.keeper import Kept
from sae.harvest.priorities import generator
from sae.harvest.scan import Text, segments_per_block
from sae.harvest.tally import UnitTally
from sae.store.layout import LISTED_TOKENS, LOWEST_INTERVAL, OUT_OF_CONTEXT, TOP


@dataclass(frozen=True)
class Records:
    """Windows of many units.

    unit, stratum: int64 [n]. focus, start: offset in the split of the token the record is for and of its window's
    first token, int64 [n]. scanned: float32 [n], the unit's activation at the focus as it was scanned, NaN where the
    scan did not keep it.
    """

    unit: NDArray[np.int64]
    stratum: NDArray[np.int64]
    focus: NDArray[np.int64]
    start: NDArray[np.int64]
    scanned: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.unit)


@dataclass(frozen=True)
class TopContexts:
    """Top contexts of one kind of unit, ordered by unit, then rank.

    start: int64 [n], where the windows begin. tokens: int64 [n_units, 10], each unit's commonest focus tokens, padded
    with -1.
    """

    peaks: Kept
    start: NDArray[np.int64]
    tokens: NDArray[np.int64]


def window_starts(focus: NDArray[np.int64], window: int, block_tokens: int, segments: int = 1) -> NDArray[np.int64]:
    """Where the windows around these tokens begin: `window // 2` tokens before, but inside the block.

    With several segments in a block (each at least a window long) they stay inside the token's segment.
    """
    block, within = np.divmod(focus, block_tokens)
    segment = within * segments // block_tokens
    first, end = (-(-bound * block_tokens // segments) for bound in (segment, segment + 1))
    start: NDArray[np.int64] = np.clip(within - window // 2, first, end - window)
    return block * block_tokens + start


def random_foci(text: Text, n_random: int, seed: int) -> NDArray[np.int64]:
    """Offsets of the random contexts' tokens, ascending: uniform, at most one from a block."""
    rng = generator(seed, "harvest random contexts")
    chosen = np.sort(rng.choice(text.rows, min(n_random, len(text.rows)), replace=False))
    return chosen * text.block_tokens + rng.integers(0, text.block_tokens, len(chosen))


def top_contexts(tally: UnitTally, text: Text, window: int) -> TopContexts:
    """The top contexts of a finished tally."""
    peaks = tally.peaks.settle()
    size = text.block_tokens
    start = window_starts(peaks.position, window, size, segments_per_block(size, window))
    return TopContexts(peaks, start, commonest_tokens(peaks.unit, text.tokens_at(peaks.position), tally.n_units))


def commonest_tokens(unit: NDArray[np.int64], token: NDArray[np.int64], n_units: int) -> NDArray[np.int64]:
    """The commonest tokens among each unit's entries, int64 [n_units, 10], padded with -1.

    Entries are ordered by unit. Of equally common tokens the one that comes first among the unit's entries goes first.
    """
    listed = np.full((n_units, LISTED_TOKENS), -1, np.int64)
    bounds = np.searchsorted(unit, np.arange(n_units + 1))
    for index in np.unique(unit):
        here = token[bounds[index] : bounds[index + 1]]
        tokens, first, count = np.unique(here, return_index=True, return_counts=True)
        order = np.lexsort((first, -count))[:LISTED_TOKENS]
        listed[index, : len(order)] = tokens[order]
    return listed


def choose_records(
    top: TopContexts,
    sampled: tuple[Kept, NDArray[np.int64]],
    elsewhere: tuple[NDArray[np.int64], NDArray[np.int64]],
    window: int,
    block_tokens: int,
) -> Records:
    """All records of one kind of unit, ordered by unit, then stratum, then the order the stratum has.

    sampled: what `sample_slices` gave. elsewhere: unit and offset of the out-of-context tokens.
    """
    samples, interval = sampled
    unit, focus = elsewhere
    parts = [
        Records(top.peaks.unit, np.full(len(top.peaks), TOP), top.peaks.position, top.start, top.peaks.value),
        Records(
            samples.unit,
            LOWEST_INTERVAL + interval,
            samples.position,
            window_starts(samples.position, window, block_tokens),
            samples.value,
        ),
        Records(
            unit,
            np.full(len(unit), OUT_OF_CONTEXT),
            focus,
            window_starts(focus, window, block_tokens),
            np.full(len(unit), np.nan, np.float32),
        ),
    ]
    return _in_order(parts)


def _in_order(parts: list[Records]) -> Records:
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in Records.__dataclass_fields__]
    order = np.lexsort((columns[1], columns[0]))  # stable: within a stratum the order stays
    return Records(*(column[order] for column in columns))
