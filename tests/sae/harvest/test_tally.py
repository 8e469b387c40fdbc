"""Counting and keeping, against dense arithmetic on everything at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sae.errors import SaeError
from sae.harvest.priorities import hashes, priorities
from sae.harvest.tally import Dense, EntryFinder, Passage, UnitTally, bin_of, least_power_of_two
from sae.store.layout import BINS

BLOCK, SEGMENTS = 6, 2


def passage(first_block: int, n_blocks: int) -> Passage:
    position = np.arange(first_block * BLOCK, (first_block + n_blocks) * BLOCK)
    block = np.repeat(np.arange(n_blocks), BLOCK)
    segment = block * SEGMENTS + np.tile(np.arange(BLOCK) * SEGMENTS // BLOCK, n_blocks)
    return Passage(position, hashes(position, 5), block, segment)


def tallied(values: NDArray[np.floating], sizes: list[int], *, top: int = 3, per_stratum: int = 2) -> UnitTally:
    tally = UnitTally(hashes(np.arange(values.shape[1]), 9), top, per_stratum)
    first = 0
    for size in sizes:
        tally.add(Dense(values[first * BLOCK : (first + size) * BLOCK]), passage(first, size))
        first += size
    assert first * BLOCK == len(values)
    return tally


def some_values(seed: int, n_blocks: int = 12, units: int = 4) -> NDArray[np.float64]:
    """Few distinct values, so that there are ties, growing so that scales double several times; unit 3 is silent."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-6, 7, (n_blocks * BLOCK, units)) * np.exp2(np.arange(n_blocks).repeat(BLOCK) // 3)[:, None]
    values[:, 3] = -1
    return values * np.array([1, 0.1, 3e-5, 1])


@pytest.mark.parametrize("seed", range(3))
def test_statistics_are_those_of_all_values_at_once(seed: int) -> None:
    values = some_values(seed)
    tally = tallied(values, [1, 5, 2, 4])
    positive = np.maximum(values.astype(np.float32), 0).astype(np.float64)
    np.testing.assert_allclose(tally.sums, positive.sum(axis=0), rtol=1e-14)
    np.testing.assert_allclose(tally.squares, (positive**2).sum(axis=0), rtol=1e-14)
    most = positive.max(axis=0)
    assert (tally.scale[:3] >= most[:3]).all()
    assert (tally.scale[:3] < 2 * most[:3]).all()
    assert (np.exp2(np.rint(np.log2(tally.scale[:3]))) == tally.scale[:3]).all()
    assert tally.scale[3] == 0
    for unit in range(3):
        fired = positive[positive[:, unit] > 0, unit]
        edges = np.arange(BINS + 1) * tally.scale[unit] / BINS
        expected = np.bincount(np.searchsorted(edges, fired, side="left") - 1, minlength=BINS)
        assert (tally.histogram[unit] == expected).all()
    assert tally.histogram[3].sum() == 0


@pytest.mark.parametrize("sizes", [[1] * 12, [3] * 4, [8, 4], [5, 7]])
def test_everything_kept_is_the_same_for_any_batches(sizes: list[int]) -> None:
    values = some_values(7)
    one, other = tallied(values, [12]).state(), tallied(values, sizes).state()
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name


def test_a_restored_tally_goes_on_to_the_same_state() -> None:
    values = some_values(8)
    first, second = tallied(values[: 5 * BLOCK], [5]), tallied(np.zeros((0, 4)), [])
    second.restore({name: array.copy() for name, array in first.state().items()})
    second.add(Dense(values[5 * BLOCK :]), passage(5, 7))
    expected, found = tallied(values, [12]).state(), second.state()
    assert all(expected[name].tobytes() == found[name].tobytes() for name in expected)


@pytest.mark.parametrize("seed", range(3))
def test_peaks_are_the_first_maxima_of_segments_by_value_then_position(seed: int) -> None:
    values = some_values(seed)
    peaks = tallied(values, [4, 8], top=5).peaks.settle()
    length = BLOCK // SEGMENTS
    for unit in range(4):
        candidates = []
        for start in range(0, len(values), length):
            segment = values[start : start + length, unit].astype(np.float32)
            if segment.max() > 0:
                candidates.append((-segment.max(), start + int(segment.argmax())))
        mine = peaks[peaks.unit == unit]
        assert list(zip(-mine.value, mine.position.tolist(), strict=True)) == sorted(candidates)[:5]


def test_samples_are_the_lowest_priorities_of_each_stratum() -> None:
    values = some_values(4)
    tally = tallied(values, [2, 10], per_stratum=2)
    held = tally.samples.settle()
    position = np.arange(len(values))
    for unit in range(3):
        value = values[:, unit].astype(np.float32)
        order = priorities(hashes(position, 5), hashes(np.arange(4), 9)[unit])
        stratum = np.ceil(value / tally.scale[unit] * 64).astype(int) - 1
        expected = []
        for each in range(64):
            inside = position[(stratum == each) & (value > 0)]
            expected += inside[np.argsort(order[inside])][:2].tolist()
        assert held.position[held.unit == unit].tolist() == expected


def test_a_bias_left_to_the_finder_gives_the_same_entries() -> None:
    rng = np.random.default_rng(0)
    values, bias = rng.normal(size=(50, 7)), rng.normal(size=7)
    find = EntryFinder()
    apart = find(Dense(values, bias))
    added = values + bias
    token, unit = np.nonzero(added > 0)
    assert (apart.token == token).all()
    assert (apart.unit == unit).all()
    assert (apart.value == added[token, unit].astype(np.float32)).all()


def test_what_is_zero_in_float32_has_not_fired() -> None:
    assert len(EntryFinder()(Dense(np.array([[1e-60, 0.0, -1.0, 1e-3]]))).value) == 1


@pytest.mark.parametrize("bad", [np.inf, 1e300])
def test_a_value_that_float32_cannot_hold_is_refused(bad: float) -> None:
    values = np.zeros((BLOCK, 2))
    values[2, 1] = bad
    with pytest.raises(SaeError, match="not finite"):
        tallied(values, [1])


@settings(max_examples=200, deadline=None)
@given(st.floats(min_value=2.0**-140, max_value=2.0**120, width=32))
def test_least_power_of_two_and_bins_hold_the_value(value: float) -> None:
    number = np.array([value], np.float32)
    scale = least_power_of_two(number)
    assert scale[0] / 2 < value <= scale[0]
    place = int(bin_of(number, scale)[0])
    assert 0 <= place < BINS
    assert place * (scale[0] / BINS) < value <= (place + 1) * (scale[0] / BINS)


def test_a_value_on_an_edge_belongs_to_the_bin_below_it() -> None:
    assert bin_of(np.array([1, 2, 2048], np.float32), np.full(3, 2048.0)).tolist() == [0, 1, 2047]
