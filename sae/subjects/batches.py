"""Which tokens each training step reads."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae.corpus import TokenIds
from sae.errors import BadInput
from sae.seeds import generator

Blocks = TokenIds
"""A split of a corpus: [n_blocks, block_tokens], one stream of tokens cut into blocks. May be memory-mapped."""


class BlockOrder:
    """The blocks of each step: a seeded permutation for each epoch, cut into batches, one epoch after another.

    Each block is used once in an epoch, and a step's blocks depend on (seed, step) alone. The split's last block is
    left out: what follows its last token is not in the split.
    """

    def __init__(self, n_blocks: int, batch: int, seed: int) -> None:
        if n_blocks < 2:
            raise BadInput(f"the corpus's train split holds {n_blocks} blocks; at least 2 are needed: add text to it")
        self.usable, self.batch, self.seed = n_blocks - 1, batch, seed
        self._permutation = lru_cache(maxsize=2)(self._draw)

    def __call__(self, step: int) -> NDArray[np.int64]:
        """Rows of the blocks of step 0, 1, ...: int64 [batch]."""
        epochs, places = np.divmod(np.arange(step * self.batch, (step + 1) * self.batch), self.usable)
        parts = [self._permutation(int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
        return np.concatenate(parts)

    def _draw(self, epoch: int) -> NDArray[np.int64]:
        return generator(self.seed, "data order", epoch).permutation(self.usable)


def inputs_and_targets(blocks: Blocks, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Tokens of the rows and the token after each: two int64 tensors [len(rows), block_tokens].

    The target of a block's last position is the first token of the next block of the stream. Without it the last
    position would never be trained, and its activations would be noise. So rows stay below n_blocks - 1.
    """
    length = blocks.shape[1]
    places = rows[:, None] * length + np.arange(length + 1)
    both = torch.from_numpy(blocks.reshape(-1)[places].astype(np.int64))
    return both[:, :-1].contiguous(), both[:, 1:].contiguous()


def spread_rows(n_blocks: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` rows below n_blocks - 1, evenly spread, so that every part of the split has its share."""
    usable = n_blocks - 1
    if usable < 1:
        raise BadInput(f"the corpus's validation split holds {n_blocks} blocks; at least 2 are needed: add text to it")
    return np.arange(min(wanted, usable)) * usable // min(wanted, usable)
