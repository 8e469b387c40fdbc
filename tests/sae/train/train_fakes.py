"""A subject and a corpus of a few lines: activations are looked up in a table by token and position."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

HOOK = "blocks.0.mlp.hook_post"


@dataclass
class TableSubject:
    """activations[b, p] = table[tokens[b, p]], table float32 [vocab, width]."""

    table: Tensor
    name: str = "table"
    context: int = 1024
    hooks: tuple[str, ...] = (HOOK,)
    tokens_asked: int = 0

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.table.to(torch.float32).numpy().tobytes()).hexdigest()[:16]

    @property
    def vocab_size(self) -> int:
        return self.table.shape[0]

    def width(self, hook: str) -> int:
        assert hook == HOOK
        return self.table.shape[1]

    def activations(self, tokens: Tensor, hook: str) -> Tensor:
        assert tokens.dtype == torch.int64
        self.tokens_asked += tokens.numel()
        return self.table[tokens]

    def to(self, dtype: torch.dtype) -> TableSubject:
        return TableSubject(self.table.to(dtype), self.name)


@dataclass
class ArraySplit:
    tokens: npt.NDArray[np.uint16]

    @property
    def n_blocks(self) -> int:
        return int(self.tokens.shape[0])

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.tokens.tobytes()).hexdigest()[:16]


@dataclass
class ArrayCorpus:
    """A corpus with one split, "train", given as an array."""

    tokens: npt.NDArray[np.uint16]
    name: str = "array"

    @property
    def block_tokens(self) -> int:
        return int(self.tokens.shape[1])

    def split(self, name: str) -> ArraySplit:
        assert name == "train"
        return ArraySplit(self.tokens)


def random_tokens(seed: int, blocks: int, block_tokens: int, vocab: int) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, vocab, (blocks, block_tokens)).astype(np.uint16)


def sparse_mixtures(
    seed: int, samples: int, directions: npt.NDArray[np.float64], active: int
) -> npt.NDArray[np.float32]:
    """Rows that are sums of `active` of the unit rows of `directions`, each times a number in [0.5, 1.5]."""
    rng = np.random.default_rng(seed)
    n = directions.shape[0]
    chosen = np.argsort(rng.random((samples, n)), axis=1)[:, :active]
    strength = np.zeros((samples, n))
    np.put_along_axis(strength, chosen, rng.uniform(0.5, 1.5, (samples, active)), axis=1)
    mixtures: npt.NDArray[np.float32] = (strength @ directions).astype(np.float32)
    return mixtures


def unit_directions(seed: int, n: int, d: int) -> npt.NDArray[np.float64]:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    units: npt.NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units
