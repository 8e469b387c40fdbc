"""What is counted and kept of every unit of one kind while the corpus goes by.

Only activations above zero are touched, some ten per token for a dictionary's features. Everything kept is a function
of the set of tokens seen, so it depends neither on batches nor on where a run was resumed; sums are added up block
by block, in order, for the same reason.

The sample of every slice of [0, max] is drawn in the same pass although max is known only at its end. The range
(0, scale] is cut into 64 equal strata, `scale` being the least power of two that is not below the maximum so far, and
of each stratum the tokens of lowest priority are kept. When the maximum outgrows the scale, the scale doubles and
strata unite in pairs, as do the bins of the histogram: the lowest of a union are the lowest of the lowest of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sae.errors import SaeError
from sae.harvest.keeper import NO_LIMIT, Kept, LowestPerGroup
from sae.harvest.priorities import priorities
from sae.store.layout import BINS

STRATA = 64
"""Strata of (0, scale]; each is BINS // STRATA bins. A slice of [0, max] is at least 64 / 26 of them wide."""
_BINS_PER_STRATUM_LOG2 = (BINS // STRATA).bit_length() - 1
_ABOVE_ALL_VALUES = np.uint32(0x7FFFFFFF)

State = dict[str, NDArray[np.generic]]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Passage:
    """Tokens that go by together: whole blocks, in order.

    position, hash [n]: offset of each token in its split, and its hash. block, segment [n]: the block and the
    segment it lies in, counted from 0 in this passage.
    """

    position: NDArray[np.int64]
    hash: NDArray[np.uint32]
    block: NDArray[np.int64]
    segment: NDArray[np.int64]


@dataclass(frozen=True)
class Dense:
    """Activations of all units on a passage: the positive part of values [tokens, units] + bias [units].

    values is in C order. The bias may be left to whoever picks out the positive ones: they are few, and adding it to
    all is a pass over the largest array of the harvest.
    """

    values: NDArray[np.floating]
    bias: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Entries:
    """The activations above zero of a passage: row of the token, unit, value, ordered by token, then unit."""

    token: NDArray[np.int64]
    unit: NDArray[np.int64]
    value: NDArray[np.float32]

    def __getitem__(self, rows: NDArray[np.int64]) -> Entries:
        return Entries(take(self.token, rows), take(self.unit, rows), take(self.value, rows))


def take(table: NDArray[T], index: NDArray[np.int64]) -> NDArray[T]:
    """table[index] for an index known to be in range: three times as fast as with numpy's check of it."""
    return table.take(index, mode="clip")


class EntryFinder:
    """Finds the activations above zero in a dense array, with a mask that is allocated once."""

    def __init__(self) -> None:
        self._mask = np.empty((0, 0), np.bool_)

    def __call__(self, dense: Dense) -> Entries:
        """Entries of dense, rounded to float32."""
        n_tokens, n_units = dense.values.shape
        if len(self._mask) < n_tokens:
            self._mask = np.empty((n_tokens, n_units), np.bool_)
        mask = np.greater(dense.values, 0 if dense.bias is None else -dense.bias, out=self._mask[:n_tokens])
        index = np.flatnonzero(mask)
        token = index // n_units
        unit = index - token * n_units
        exact = take(dense.values.reshape(-1), index)
        with np.errstate(over="ignore"):  # what becomes infinite is found and refused
            value = (exact if dense.bias is None else exact + take(dense.bias, unit)).astype(np.float32)
        entries = Entries(token, unit, value)
        # What is below the least float32 number is zero there.
        return entries if value.all() else entries[np.flatnonzero(value)]


class UnitTally:
    """Statistics, histogram, top peaks and the sample of every stratum, of `n_units` units.

    unit_hash: uint32 [n_units], makes each unit's random order of the tokens its own. top: peaks kept. per_stratum:
    tokens kept of each of the 64 strata.
    """

    def __init__(self, unit_hash: NDArray[np.uint32], top: int, per_stratum: int) -> None:
        self.n_units = len(unit_hash)
        self._unit_hash = unit_hash
        self.sums = np.zeros(self.n_units)
        self.squares = np.zeros(self.n_units)
        self.scale = np.zeros(self.n_units)
        self.histogram = np.zeros((self.n_units, BINS), np.int64)
        self.peaks = LowestPerGroup(self.n_units, top, lambda unit, value: unit)
        self.samples = LowestPerGroup(self.n_units * STRATA, per_stratum, self._stratum_of)
        self._find = EntryFinder()
        self._before_first_bin = np.arange(self.n_units) * BINS - 1
        self._refresh_bins_per_value()
        self._refresh_floor()

    def add(self, dense: Dense, passage: Passage) -> None:
        """Count the activations of a passage. Passages come in the order of the text.

        Raises SaeError for an activation above zero that is not finite.
        """
        entries = self._find(dense)
        if not len(entries.value):
            return
        if not np.isfinite(entries.value).all():
            raise SaeError("an activation is not finite in float32; check the weights of subject and dictionary")
        self._add_sums(entries, passage)
        self._offer_peaks(entries, passage)
        self._offer_samples(entries, self._count(entries), passage)

    def state(self) -> State:
        """Arrays from which `restore` goes on."""
        arrays: State = {name: getattr(self, name) for name in ("sums", "squares", "scale", "histogram")}
        for name in ("peaks", "samples"):
            arrays |= {f"{name}.{column}": array for column, array in getattr(self, name).state().items()}
        return arrays

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what `state` gave."""
        for name in ("sums", "squares", "scale", "histogram"):
            getattr(self, name)[...] = state[name]
        self._refresh_bins_per_value()
        for name in ("peaks", "samples"):
            prefix = name + "."
            part = {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
            getattr(self, name).restore(part)
        self._refresh_floor()

    def _add_sums(self, entries: Entries, passage: Passage) -> None:
        blocks = int(passage.block[-1]) + 1
        cell = take(passage.block * self.n_units, entries.token) + entries.unit
        value = entries.value.astype(np.float64)
        for total, weights in ((self.sums, value), (self.squares, value * value)):
            for block in np.bincount(cell, weights, blocks * self.n_units).reshape(blocks, self.n_units):
                total += block

    def _offer_peaks(self, entries: Entries, passage: Passage) -> None:
        above = entries[np.flatnonzero(entries.value > take(self._floor, entries.unit))]
        # Of each unit's entries in a segment the highest, and of equals the first.
        cell = take(passage.segment * self.n_units, above.token) + above.unit
        highest = np.zeros((int(passage.segment[-1]) + 1) * self.n_units, np.float32)
        np.maximum.at(highest, cell, above.value)
        row = np.flatnonzero(above.value == take(highest, cell))
        peaks = above[row[np.unique(cell[row], return_index=True)[1]]]
        key = _ABOVE_ALL_VALUES - peaks.value.view(np.uint32)
        if self.peaks.offer(Kept(peaks.unit, key, take(passage.position, peaks.token), peaks.value)):
            self._refresh_floor()

    def _count(self, entries: Entries) -> NDArray[np.int64]:
        """Put the entries into the histogram. Returns the cell of each, unit * BINS + bin."""
        bins = entries.value * take(self._bins_per_value, entries.unit)
        over = np.flatnonzero(bins > BINS)
        if len(over):
            self._grow(entries.unit[over], entries.value[over])
            bins = entries.value * take(self._bins_per_value, entries.unit)
        cell: NDArray[np.int64] = take(self._before_first_bin, entries.unit) + np.ceil(bins).astype(np.int64)
        np.add.at(self.histogram.reshape(-1), cell, 1)
        return cell

    def _offer_samples(self, entries: Entries, cell: NDArray[np.int64], passage: Passage) -> None:
        priority = priorities(take(passage.hash, entries.token), take(self._unit_hash, entries.unit))
        rows = np.flatnonzero(priority < take(self.samples.limits, cell >> _BINS_PER_STRATUM_LOG2))
        chosen = entries[rows]
        self.samples.offer(Kept(chosen.unit, priority[rows], take(passage.position, chosen.token), chosen.value))

    def _grow(self, unit: NDArray[np.int64], value: NDArray[np.float32]) -> None:
        highest = np.zeros(self.n_units, np.float32)
        np.maximum.at(highest, unit, value)
        grown = np.flatnonzero(highest)
        scale = least_power_of_two(highest[grown])
        doublings = np.where(self.scale[grown] > 0, np.frexp(scale)[1] - np.frexp(self.scale[grown])[1], 0)
        limits = self.samples.limits.reshape(self.n_units, STRATA)
        for times in np.unique(doublings[doublings > 0]):
            rows = grown[doublings == times]
            self.histogram[rows] = _united(self.histogram[rows], int(times), np.add, 0)
            limits[rows] = _united(limits[rows], int(times), np.minimum, int(NO_LIMIT))
        self.scale[grown] = scale
        self._refresh_bins_per_value()

    def _stratum_of(self, unit: NDArray[np.int64], value: NDArray[np.float32]) -> NDArray[np.int64]:
        return unit * STRATA + (bin_of(value, self.scale[unit]) >> _BINS_PER_STRATUM_LOG2)

    def _refresh_bins_per_value(self) -> None:
        # A unit that has not fired has infinitely many: its first activation is then above the scale.
        self._bins_per_value = np.full(self.n_units, np.inf)
        np.divide(BINS, self.scale, out=self._bins_per_value, where=self.scale > 0)

    def _refresh_floor(self) -> None:
        """The value a peak must exceed to be among the top: that of the last one kept, 0 while there is room."""
        limits = self.peaks.limits
        self._floor = np.where(limits == NO_LIMIT, 0, _ABOVE_ALL_VALUES - np.minimum(limits, _ABOVE_ALL_VALUES)).view(
            np.float32
        )


def least_power_of_two(value: NDArray[np.float32]) -> NDArray[np.float64]:
    """The least power of two that is not below each value > 0."""
    mantissa, exponent = np.frexp(value.astype(np.float64))
    power: NDArray[np.float64] = np.ldexp(1.0, exponent - (mantissa == 0.5))
    return power


def bin_of(value: NDArray[np.float32], scale: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin 0 ... BINS - 1 that holds each value, 0 < value <= scale: bin i is (i, i + 1] * scale / BINS.

    Exact: in float64 the product of a float32 number and a power of two is.
    """
    return np.ceil(value * (BINS / scale)).astype(np.int64) - 1


def _united(rows: NDArray[T], doublings: int, unite: np.ufunc, empty: int) -> NDArray[T]:
    """Rows [n, cells] on a scale that was doubled so many times: neighbours united, the upper cells empty."""
    cells = rows.shape[1]
    parts = min(1 << doublings, cells)
    united = np.full_like(rows, empty)
    united[:, : cells // parts] = unite.reduce(rows.reshape(len(rows), cells // parts, parts), axis=2)
    return united
