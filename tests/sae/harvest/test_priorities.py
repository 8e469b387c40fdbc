"""The hash that stands for random order."""

from __future__ import annotations

import numpy as np
from scipy import stats

from sae.harvest.priorities import hashes, key_for, priorities, splitmix64


def test_splitmix64_gives_the_published_sequence() -> None:
    # The first outputs of the reference implementation (Vigna, splitmix64.c) for the seed 1234567.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(np.arange(5), 1234567).tolist() == expected


def test_splitmix64_of_later_indices_is_the_same_sequence() -> None:
    assert (splitmix64(np.arange(5), 7)[3:] == splitmix64(np.array([3, 4]), 7)).all()


def test_priorities_are_uniform_below_two_to_the_31() -> None:
    found = priorities(hashes(np.arange(20_000), key_for(0, "test")), np.full(1, 12345, np.uint32))
    assert found.dtype == np.uint32
    assert found.max() < 2**31
    assert stats.kstest(found / 2**31, "uniform").pvalue > 1e-3


def test_keys_depend_on_seed_and_purpose() -> None:
    keys = {key_for(seed, purpose) for seed in (0, 1) for purpose in ("a", "b")}
    assert len(keys) == 4
    assert all(0 <= key < 2**64 for key in keys)


def test_orders_of_units_are_unrelated() -> None:
    """Whatever the tokens' hashes: over many units each token is the lowest equally often."""
    tokens, units = 50, 4000
    for seed in range(3):
        token = hashes(np.arange(tokens), key_for(seed, "position"))
        unit = hashes(np.arange(units), key_for(seed, "unit"))
        lowest = priorities(token[:, None], unit[None]).argmin(axis=0)
        assert stats.chisquare(np.bincount(lowest, minlength=tokens)).pvalue > 1e-4
