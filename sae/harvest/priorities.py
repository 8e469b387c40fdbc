"""Random order without a random number generator: a hash of (seed, purpose, position) and of (seed, purpose, unit).

A generator's numbers depend on how many were drawn before, hence on batches and on where a run was resumed; a hash
depends on the token alone. The priority of a token for a unit is a one-to-one scrambling of the exclusive or of both
hashes: for one unit the tokens stand in a uniformly random order, and for two units the orders are unrelated.
(Without the scrambling the same tokens would be low for many units: those whose hash has no near neighbours.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SPREAD = np.uint32(0x9E3779B1)


def splitmix64(index: NDArray[np.int64], key: int) -> NDArray[np.uint64]:
    """Number `index` (>= 0) of the SplitMix64 sequence that starts at `key` (Steele, Lea and Flood 2014), uint64."""
    z = np.uint64(key) + (index.astype(np.uint64) + np.uint64(1)) * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def key_for(seed: int, purpose: str) -> int:
    """A 64-bit key that depends on the run's seed (>= 0) and on what it is for."""
    sequence = np.random.SeedSequence([seed, *purpose.encode()])
    return int(sequence.generate_state(1, np.uint64)[0])


def hashes(index: NDArray[np.int64], key: int) -> NDArray[np.uint32]:
    """Uniform numbers in [0, 2**32), one for each index."""
    return (splitmix64(index, key) >> np.uint64(32)).astype(np.uint32)


def priorities(token_hash: NDArray[np.uint32], unit_hash: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Priorities of tokens for units, elementwise: uniform in [0, 2**31), so that 2**31 can stand for "no bound"."""
    mixed = (token_hash ^ unit_hash) * _SPREAD
    return mixed >> np.uint32(1)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator for draws that are made once in a run, such as the random contexts."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *purpose.encode()])))
