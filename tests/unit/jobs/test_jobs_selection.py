"""Which units a job is about: a seeded random sample of those that fire, and never the first N."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.stores import PLANTED, write_store

from autointerp.errors import BadJob
from autointerp.jobs.selection import all_firing, select
from autointerp.records import ContextStore
from autointerp.types import Kind


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ContextStore:
    return ContextStore.open(write_store(tmp_path_factory.mktemp("store")).path)


def indices(store: ContextStore, count: int, seed: int, min_density: float = 0.0) -> list[int]:
    return [unit.index for unit in select(store, Kind.FEATURE, count, seed, min_density)]


def test_peer_defect_a_random_n_and_not_the_first_n(store: ContextStore) -> None:
    """One peer takes the first N. Over many seeds each of the five that fire is drawn as often as any other."""
    drawn = [index for seed in range(300) for index in indices(store, 2, seed)]
    counts = np.bincount(drawn, minlength=6)
    assert counts[PLANTED["silent"]] == 0
    # 120 expected each, with a standard deviation of 8.5
    assert all(80 < counts[index] < 160 for index in PLANTED.values() if index != PLANTED["silent"])


def test_a_sample_depends_on_the_seed_alone_and_fewer_units_are_a_prefix_of_more(store: ContextStore) -> None:
    assert indices(store, 5, 3) == indices(store, 5, 3)
    assert indices(store, 2, 3) == indices(store, 5, 3)[:2]
    assert len({tuple(indices(store, 5, seed)) for seed in range(20)}) > 10


def test_a_sample_is_of_the_units_that_are_dense_enough_and_a_list_is_taken_as_it_is(store: ContextStore) -> None:
    rare = store.statistics(store.unit(Kind.FEATURE, PLANTED["rare"])).density
    denser = [unit.index for unit in all_firing(store, Kind.FEATURE) if unit.index != PLANTED["rare"]]
    assert sorted(indices(store, 4, 0, min_density=2 * rare)) == denser
    with pytest.raises(BadJob, match=r"5 features asked, but only 4 fire with density"):
        indices(store, 5, 0, min_density=2 * rare)
    listed = select(store, Kind.FEATURE, [PLANTED["silent"], 0], 0, 0.9)
    assert [unit.index for unit in listed] == [PLANTED["silent"], 0]


def test_a_kind_that_the_store_does_not_hold(store: ContextStore, tmp_path: Path) -> None:
    assert select(store, Kind.DIRECTION, 0, 0) == ()
    with pytest.raises(BadJob, match="holds no directions: it has feature, neuron"):
        select(store, Kind.DIRECTION, 3, 0)
