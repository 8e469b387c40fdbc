"""Randomness that depends on the run's seed and on what it is for, and on nothing else."""

from __future__ import annotations

import numpy as np


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """A PCG64 generator for one purpose of one run, the same on every machine.

    `indices` tell apart repeated uses, such as the epochs of a data order; a last index of 0 draws as none does, so a
    purpose has indices always or never. `seed` must be >= 0.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *purpose.encode(), *indices])))
