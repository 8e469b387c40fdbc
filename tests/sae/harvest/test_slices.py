"""Slices of [0, max]: their counts against counting, and that their samples are uniform, over many seeds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sae.harvest.priorities import hashes, priorities
from sae.harvest.slices import draw_parts, edge_bins, sample_slices, slice_counts
from sae.harvest.tally import Dense, Passage, UnitTally
from sae.store.layout import BINS, INTERVALS

BLOCK = 4
RNG = np.random.default_rng


def tallied(values: NDArray[np.float64], seed: int, per_stratum: int, step: int = 5) -> UnitTally:
    """A tally of values [n_tokens, units], given `step` blocks at a time."""
    tally = UnitTally(hashes(np.arange(values.shape[1]), 1000 + seed), 2, per_stratum)
    for first in range(0, len(values), step * BLOCK):
        part = values[first : first + step * BLOCK]
        position = np.arange(first, first + len(part))
        block = np.arange(len(part)) // BLOCK
        tally.add(Dense(part), Passage(position, hashes(position, seed), block, block))
    return tally


def slices_of(values: NDArray[np.float64], edges: NDArray[np.int64], scale: float) -> NDArray[np.int64]:
    """The slice of each positive value by its definition, -1 for the rest."""
    bounds = edges * scale / BINS
    place = np.searchsorted(bounds, values.astype(np.float32), side="left") - 1
    return np.where(values > 0, place, -1)


def decaying(seed: int, n: int) -> NDArray[np.float64]:
    """Activations that get rarer the higher they are, their maximum late, so that the scale grows along the way."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.7, rng.exponential(1.0, n), 0.0) * np.linspace(0.3, 1.0, n)


def test_edges_are_within_half_a_bin_of_thirteenths_of_the_maximum() -> None:
    highest = np.array([0.9, 1.0, 5.3, 0.0], np.float32)
    scale = np.array([1.0, 1.0, 8.0, 0.0])
    edges = edge_bins(highest, scale)
    for unit in range(3):
        exact = np.arange(INTERVALS + 1) * float(highest[unit]) / INTERVALS
        assert (np.abs(edges[unit, :-1] * scale[unit] / BINS - exact[:-1]) <= scale[unit] / BINS / 2 + 1e-12).all()
        assert edges[unit, -1] * scale[unit] / BINS >= highest[unit]
    assert (edges[3] == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_exact(seed: int) -> None:
    values = np.stack([decaying(seed, 400), np.zeros(400), decaying(seed + 50, 400) * 1e-3], axis=1)
    tally = tallied(values, seed, per_stratum=4)
    highest = values.astype(np.float32).max(axis=0)
    edges = edge_bins(highest, tally.scale)
    counts = slice_counts(tally.histogram, edges)
    for unit in (0, 2):
        place = slices_of(values[:, unit], edges[unit], tally.scale[unit])
        assert counts[unit].tolist() == np.bincount(place[place >= 0], minlength=INTERVALS).tolist()
        assert counts[unit].sum() == (values[:, unit] > 0).sum()
    assert counts[1].sum() == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_sample_lies_in_its_slice_and_is_whole_where_the_slice_is_small(seed: int) -> None:
    values = decaying(seed, 400)[:, None]
    tally = tallied(values, seed, per_stratum=400)
    edges = edge_bins(values.astype(np.float32).max(axis=0), tally.scale)
    sample, interval = sample_slices(tally, edges, 6, BLOCK, RNG(seed))
    place = slices_of(values[:, 0], edges[0], tally.scale[0])
    assert (place[sample.position] == interval).all()
    assert (sample.value == values[sample.position, 0].astype(np.float32)).all()
    assert len(set(sample.position.tolist())) == len(sample)
    size = np.bincount(place[place >= 0], minlength=INTERVALS)
    assert np.bincount(interval, minlength=INTERVALS).tolist() == np.minimum(size, 6).tolist()


@pytest.mark.parametrize("per_stratum", [16, 80])
def test_every_token_of_a_slice_is_drawn_equally_often(per_stratum: int) -> None:
    """Chi-square over 200 units, which all have the same activations, in each of five runs.

    The maximum comes late, so strata unite along the way; with 16 kept of each, most are not held whole.
    """
    n, units, per_interval = 960, 200, 1
    values = decaying(3, n)
    drawn, counts = np.zeros(n), np.zeros(INTERVALS)
    for seed in range(5):
        tally = tallied(np.repeat(values[:, None], units, axis=1), seed, per_stratum)
        edges = edge_bins(np.full(units, values.max(), np.float32), tally.scale)
        # Blocks of one token, so that no token gives way to another of its block.
        sample, interval = sample_slices(tally, edges, per_interval, 1, RNG(seed))
        drawn += np.bincount(sample.position, minlength=n)
        counts += np.bincount(interval, minlength=INTERVALS)
    place = slices_of(values, edges[0], tally.scale[0])
    assert not drawn[place < 0].any()
    checked = 0
    for interval in range(INTERVALS):
        mine = place == interval
        share = counts[interval] / (5 * units * per_interval)  # of the samples asked for
        if mine.sum() < 5:
            continue
        assert share > 0.98
        # Without replacement the variance is 1 - k / n of the chi-square's.
        statistic = stats.chisquare(drawn[mine]).statistic / (1 - per_interval / mine.sum())
        assert 1e-4 < stats.chi2.sf(statistic, mine.sum() - 1) < 1 - 1e-4, interval
        checked += 1
    assert checked > 4


def test_what_is_taken_of_a_stratum_is_the_beginning_of_its_random_order() -> None:
    """By brute force: the lowest priorities of all tokens in slice and stratum, whatever was kept along the way."""
    checked = 0
    for seed in range(20):
        values = np.stack([decaying(seed, 600), decaying(seed + 99, 600)], axis=1)
        tally = tallied(values, seed, per_stratum=4)
        edges = edge_bins(values.astype(np.float32).max(axis=0), tally.scale)
        sample, interval = sample_slices(tally, edges, 3, 1, RNG(seed))
        token, unit_hash = hashes(np.arange(600), seed), hashes(np.arange(2), 1000 + seed)
        for unit in range(2):
            place = slices_of(values[:, unit], edges[unit], tally.scale[unit])
            stratum = np.ceil(values[:, unit].astype(np.float32) / tally.scale[unit] * 64).astype(int) - 1
            for each in range(INTERVALS):
                mine = sample.position[(sample.unit == unit) & (interval == each)]
                for part in np.unique(stratum[mine]):
                    members = np.flatnonzero((place == each) & (stratum == part))
                    order = members[np.argsort(priorities(token[members], unit_hash[unit]))]
                    here = mine[stratum[mine] == part]
                    assert set(here.tolist()) == set(order[: len(here)].tolist())
                    checked += len(here)
    assert checked > 1000


def test_parts_are_drawn_as_from_an_urn() -> None:
    """Against the multivariate hypergeometric distribution, and whole where there is no choice."""
    sizes = np.array([3, 0, 5, 1])
    found = draw_parts(np.tile(sizes, (20_000, 1)), 4, RNG(0))
    assert (found.sum(axis=1) == 4).all()
    assert (found <= sizes).all()
    outcomes, counts = np.unique(found, axis=0, return_counts=True)
    expected = stats.multivariate_hypergeom.pmf(outcomes, sizes, 4)
    assert expected.sum() == pytest.approx(1)
    assert stats.chisquare(counts, expected * 20_000).pvalue > 1e-4
    assert draw_parts(np.array([[2, 1, 0], [0, 0, 0]]), 9, RNG(0)).tolist() == [[2, 1, 0], [0, 0, 0]]


def test_a_dense_neighbour_in_the_same_stratum_does_not_starve_a_slice() -> None:
    """A thousand tokens just below an edge, in a stratum that the edge cuts through; above it a few dozen, spread."""
    values = np.full(1200, 6.1)
    values[1000:] = np.linspace(6.16, 6.6, 200)  # slice 12 of [0, 6.67] is above 6.157
    values[0] = 6.67
    RNG(0).shuffle(values)
    tally = tallied(values[:, None], 0, per_stratum=16)
    edges = edge_bins(np.array([6.67], np.float32), tally.scale)
    sample, interval = sample_slices(tally, edges, 8, BLOCK, RNG(0))
    assert (interval == 12).sum() == 8
    assert (values[sample.position[interval == 12]] > 6.15).all()


def test_tokens_of_a_block_that_is_sampled_already_come_last() -> None:
    values = np.zeros((8 * BLOCK, 1))
    values[:BLOCK, 0] = 1.0  # one block fires throughout, two others once
    values[[3 * BLOCK, 6 * BLOCK], 0] = 1.0
    for seed in range(20):
        tally = tallied(values, seed, per_stratum=16)
        edges = edge_bins(np.ones(1, np.float32), tally.scale)
        sample, _ = sample_slices(tally, edges, 4, BLOCK, RNG(seed))
        assert set((sample.position[:3] // BLOCK).tolist()) == {0, 3, 6}
        assert sample.position[3] // BLOCK == 0


def test_the_sample_is_the_same_for_any_batches() -> None:
    values = decaying(1, 800)[:, None]
    edges = edge_bins(values.astype(np.float32).max(axis=0), tallied(values, 1, 4).scale)
    found = [
        sample_slices(tallied(values, 1, 4, step), edges, 3, BLOCK, RNG(0))[0].position.tolist() for step in (1, 3, 200)
    ]
    assert found[0] == found[1] == found[2]
