"""Seeds derived from a run's seed and a purpose, so that no draw depends on another or on the order of replies."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["derive", "generator"]


def derive(seed: int, *purpose: str) -> int:
    """A 64-bit seed for one purpose: the first eight bytes of SHA-256 over the seed and the purpose's words."""
    text = "\x1f".join([str(seed), *purpose])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """A generator for one purpose (PCG64, the same stream on every machine)."""
    return np.random.Generator(np.random.PCG64(derive(seed, *purpose)))
