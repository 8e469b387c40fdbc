"""Which windows are the same text, on cases made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.records import cluster


def together(first: list[int], second: list[int], *, positions: tuple[int, int] = (-1, -1), window: int = 0) -> bool:
    """Whether two windows are in one cluster; without positions only their text can tell."""
    width = max(len(first), len(second))
    tokens = np.full((2, width), -1, np.int32)
    tokens[0, : len(first)], tokens[1, : len(second)] = first, second
    lengths = np.array([len(first), len(second)])
    labels = cluster(tokens, lengths, np.array(positions), window or width)
    return bool(labels[0] == labels[1])


NINE = list(range(9))
LONG = list(range(64))


def changed(tokens: list[int], *places: int) -> list[int]:
    return [1000 + token if place in places else token for place, token in enumerate(tokens)]


def test_equal_windows_are_one() -> None:
    assert together(NINE, NINE)
    assert together([3], [3])
    assert not together([3], [4])


@pytest.mark.parametrize("place", range(9))
def test_nine_tokens_with_one_changed_are_one_wherever_it_is(place: int) -> None:
    assert together(NINE, changed(NINE, place))


def test_nine_tokens_with_two_changed_are_two() -> None:
    assert not together(NINE, changed(NINE, 3, 6))


def test_64_tokens_with_seven_scattered_changes_are_one_and_with_eight_are_two() -> None:
    # 57 of 64 agree: 57 / 71 = 0.803; 56 of 64: 56 / 72 = 0.778. No run of 32 tokens is left in either.
    assert together(LONG, changed(LONG, 8, 16, 24, 31, 40, 48, 56))
    assert not together(LONG, changed(LONG, 8, 16, 24, 31, 40, 48, 56, 60))


@pytest.mark.parametrize(("shift", "same"), [(1, True), (3, True), (4, False)])
def test_the_same_passage_at_another_offset(shift: int, same: bool) -> None:
    # Of nine tokens, a shift by three leaves a run of six.
    passage = list(range(20))
    assert together(passage[:9], passage[shift : shift + 9]) is same


@pytest.mark.parametrize(("shift", "same"), [(16, True), (32, True), (33, False)])
def test_the_same_passage_at_another_offset_in_long_windows(shift: int, same: bool) -> None:
    passage = list(range(200))
    assert together(passage[:64], passage[shift : shift + 64]) is same


def test_a_phrase_is_not_a_copy() -> None:
    phrase = [1, 2, 3, 4, 5]
    assert not together([10, 11, *phrase, 12, 13], [20, 21, *phrase, 22, 23])


def test_a_rearranged_window_is_the_same_bag() -> None:
    assert together(NINE, NINE[::-1])


def test_repeats_count() -> None:
    # As sets of tokens both are {7, 8}; as bags they share two tokens of sixteen.
    assert not together([7] * 8 + [8], [8] * 8 + [7])


@pytest.mark.parametrize(("distance", "same"), [(0, True), (8, True), (9, False), (-8, True), (-9, False)])
def test_windows_that_overlap_in_the_corpus_are_one(distance: int, same: bool) -> None:
    assert together(NINE, [50 + t for t in NINE], positions=(100, 100 + distance)) is same


def test_an_unknown_position_overlaps_nothing() -> None:
    assert not together(NINE, [50 + t for t in NINE], positions=(-1, 0))


def test_a_long_window_covers_one_that_does_not_follow_it_directly() -> None:
    # Sorted by start, the second lies inside the first and the third overlaps the first only.
    tokens = np.arange(60, dtype=np.int32).reshape(3, 20)
    lengths, positions = np.array([20, 3, 20]), np.array([0, 2, 19])
    tokens[1, 3:] = -1
    assert cluster(tokens, lengths, positions, 20).tolist() == [0, 0, 0]


def test_likeness_is_passed_on() -> None:
    chain = np.array([NINE, changed(NINE, 0), changed(NINE, 0, 1), changed(NINE, 0, 1, 2)], np.int32)
    labels = cluster(chain, np.full(4, 9), np.full(4, -1), 9)
    assert labels.tolist() == [0, 0, 0, 0]
    assert not together(chain[0].tolist(), chain[3, ::-1].tolist())


def test_a_clipped_window_is_not_joined_by_its_padding() -> None:
    assert not together([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], window=9)


def test_no_windows_no_clusters() -> None:
    assert cluster(np.empty((0, 0), np.int32), np.empty(0, np.int64), np.empty(0, np.int64), 9).tolist() == []
