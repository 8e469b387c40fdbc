"""The lowest keys of each of many groups, in memory that does not depend on how many were offered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_LIMIT = np.uint32(2**31)
"""Limit of a group that is not full. Keys are below it."""

_SETTLE_AT_LEAST = 1 << 18
"""Pending entries are not sorted in for fewer than this: a sort costs as much as it has groups to cut."""

Grouping = Callable[[NDArray[np.int64], NDArray[np.float32]], NDArray[np.int64]]


@dataclass(frozen=True)
class Kept:
    """Entries of many units: columns of equal length."""

    unit: NDArray[np.int64]
    key: NDArray[np.uint32]
    position: NDArray[np.int64]
    value: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.unit)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Kept:
        return Kept(self.unit[rows], self.key[rows], self.position[rows], self.value[rows])


def join(parts: list[Kept]) -> Kept:
    """The parts one after another; no parts give no entries."""
    none = (np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.float32))
    return Kept(*(np.concatenate(column) for column in zip(none, *(_columns(p) for p in parts), strict=True)))


def _columns(kept: Kept) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64], NDArray[np.float32]]:
    return kept.unit, kept.key, kept.position, kept.value


def rank_in_group(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each entry within its run of equal neighbours: 0, 1, ... `group` is sorted."""
    if not len(group):
        return np.empty(0, np.int64)
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    return np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group))))


class LowestPerGroup:
    """Of all entries offered, the `keep` lowest keys of each group; equal keys in the order of being offered.

    Entries are collected and sorted in from time to time. `limits` [n_groups] says what can still enter: an entry
    whose key is not below its group's limit cannot be among the lowest, so whoever offers may leave it out. What is
    kept in the end depends on the set of entries alone, not on when the sorting took place.

    The group of an entry is asked for (`group_of(unit, value)`) whenever they are sorted, so groups may be united
    along the way. Whoever unites groups must lower the limit to the lowest of theirs: each full part alone has
    `keep` entries below its own limit.
    """

    def __init__(self, n_groups: int, keep: int, group_of: Grouping) -> None:
        self.keep = keep
        self.limits = np.full(n_groups, NO_LIMIT, np.uint32)
        self._group_of = group_of
        self._held = join([])
        self._pending: list[Kept] = []
        self._n_pending = 0

    def offer(self, entries: Kept) -> bool:
        """Take entries in. True if they were sorted in and the limits are new."""
        self._pending.append(entries)
        self._n_pending += len(entries)
        if self._n_pending < max(_SETTLE_AT_LEAST, len(self._held) // 4):
            return False
        self.settle()
        return True

    def settle(self) -> Kept:
        """Sort in what is pending. Returns all entries kept, ordered by group, then key, then order of offering."""
        entries = join([self._held, *self._pending])
        group = self._group_of(entries.unit, entries.value)
        # Stable, and what is held comes first: so equal keys stay in the order in which they were offered.
        order = np.argsort(group << 32 | entries.key.astype(np.int64), kind="stable")
        rank = rank_in_group(group[order])
        order, rank = order[rank < self.keep], rank[rank < self.keep]
        self._held, self._pending, self._n_pending = entries[order], [], 0
        full = rank == self.keep - 1
        self.limits[:] = NO_LIMIT
        self.limits[group[order][full]] = self._held.key[full]
        return self._held

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Arrays from which `restore` goes on."""
        held = self.settle()
        return {"unit": held.unit, "key": held.key, "position": held.position, "value": held.value}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what `state` gave."""
        self._held, self._pending, self._n_pending = join([]), [], 0
        self._pending = [
            Kept(
                state["unit"].astype(np.int64),
                state["key"].astype(np.uint32),
                state["position"].astype(np.int64),
                state["value"].astype(np.float32),
            )
        ]
        self.settle()
