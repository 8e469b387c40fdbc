"""The lowest keys per group, against sorting everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sae.harvest.keeper as keeper_module
from sae.harvest.keeper import NO_LIMIT, Kept, LowestPerGroup, join, rank_in_group

entries = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), max_size=120)


def kept(pairs: list[tuple[int, int]], first: int = 0) -> Kept:
    unit, key = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    return Kept(unit, key.astype(np.uint32), np.arange(first, first + len(pairs)), np.ones(len(pairs), np.float32))


def brute(pairs: list[tuple[int, int]], keep: int) -> list[tuple[int, int, int]]:
    """(group, key, position), equal keys by position."""
    table = sorted((unit, key, position) for position, (unit, key) in enumerate(pairs))
    return [row for i, row in enumerate(table) if sum(other[0] == row[0] for other in table[:i]) < keep]


def rows(found: Kept) -> list[tuple[int, int, int]]:
    return list(zip(found.unit.tolist(), found.key.tolist(), found.position.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(entries, st.integers(1, 6), st.lists(st.integers(0, 120), max_size=6))
def test_keeps_what_sorting_everything_would_keep(pairs: list[tuple[int, int]], keep: int, cuts: list[int]) -> None:
    keeper = LowestPerGroup(5, keep, lambda unit, value: unit)
    bounds = sorted({0, len(pairs), *(cut for cut in cuts if cut < len(pairs))})
    for start, stop in itertools.pairwise(bounds):
        offered = kept(pairs[start:stop], start)
        keeper.offer(offered[offered.key < keeper.limits[offered.unit]])  # as those who offer are invited to
        if start % 2:
            keeper.settle()
    assert rows(keeper.settle()) == brute(pairs, keep)


def test_limit_is_the_last_key_of_a_full_group_and_no_limit_otherwise() -> None:
    keeper = LowestPerGroup(3, 2, lambda unit, value: unit)
    keeper.offer(kept([(0, 9), (0, 4), (0, 7), (1, 5)]))
    keeper.settle()
    assert keeper.limits.tolist() == [7, NO_LIMIT, NO_LIMIT]


def test_sorts_in_by_itself_before_memory_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_SETTLE_AT_LEAST", 10)
    keeper = LowestPerGroup(1, 2, lambda unit, value: unit)
    told = [keeper.offer(kept([(0, 100 - i)], first=i)) for i in range(30)]
    assert sum(told) == 3
    assert rows(keeper.settle()) == [(0, 71, 29), (0, 72, 28)]


@settings(max_examples=30, deadline=None)
@given(entries, st.integers(1, 4))
def test_a_restored_keeper_goes_on_as_if_nothing_had_happened(pairs: list[tuple[int, int]], keep: int) -> None:
    half = len(pairs) // 2
    before = LowestPerGroup(5, keep, lambda unit, value: unit)
    before.offer(kept(pairs[:half]))
    after = LowestPerGroup(5, keep, lambda unit, value: unit)
    after.restore(before.state())
    assert (after.limits == before.limits).all()
    after.offer(kept(pairs[half:], half))
    assert rows(after.settle()) == brute(pairs, keep)


def test_groups_may_be_united_along_the_way() -> None:
    united = False
    keeper = LowestPerGroup(4, 2, lambda unit, value: unit // 2 if united else unit)
    keeper.offer(kept([(0, 5), (0, 6), (0, 7), (1, 1), (1, 8)]))
    keeper.settle()
    united = True
    assert rows(keeper.settle()) == [(1, 1, 3), (0, 5, 0)]


def test_join_of_nothing_and_rank_of_nothing_are_empty() -> None:
    assert len(join([])) == 0
    assert rank_in_group(np.empty(0, np.int64)).tolist() == []
    assert rank_in_group(np.array([3, 3, 5, 7, 7, 7])).tolist() == [0, 1, 0, 0, 1, 2]
