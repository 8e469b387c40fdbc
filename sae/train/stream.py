"""Shuffled activations of a subject over a corpus split, each position at most once, in an order the seed fixes.

The blocks of the split are permuted as a whole and taken in chunks of about `buffer_inputs` activations; inside a
chunk all sampled positions are permuted again. So a batch of 4,096 holds positions of some thousands of blocks from
all over the split, and what stands at any place of the stream is a function of (seed, place) alone: a run that was
killed goes on at its place by computing one chunk again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.errors import BadInput
from sae.seeds import generator

if TYPE_CHECKING:
    from sae.corpus import TokenIds
    from sae.subjects import Subject

_BLOCKS_PER_FORWARD = 64


class ActivationStream:
    """The stream of one run.

    `tokens` [n_blocks, block_tokens]; `tokens_per_context` positions are sampled of each block (None: all).
    """

    def __init__(
        self,
        subject: Subject,
        hook: str,
        tokens: TokenIds,
        *,
        seed: int,
        tokens_per_context: int | None = None,
        buffer_inputs: int = 500_000,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        n_blocks, block_tokens = tokens.shape
        per_block = block_tokens if tokens_per_context is None else tokens_per_context
        if per_block > block_tokens:
            raise BadInput(f"tokens_per_context is {per_block}, but the corpus has blocks of {block_tokens} tokens")
        self._subject, self._hook, self._tokens, self._seed = subject, hook, tokens, seed
        self._per_block = per_block
        self._order = generator(seed, "order of blocks").permutation(n_blocks)
        self._chunk_blocks = min(n_blocks, max(1, buffer_inputs // per_block))
        self._buffer = torch.empty(self._chunk_blocks * per_block, subject.width(hook), dtype=dtype)
        self._chunk = -1  # the chunk the buffer holds
        self._position = 0

    @property
    def inputs(self) -> int:
        """Activations the whole stream has."""
        return int(self._order.shape[0]) * self._per_block

    @property
    def width(self) -> int:
        """Width of the hook, d_in."""
        return self._buffer.shape[1]

    @property
    def position(self) -> int:
        """Activations handed out so far."""
        return self._position

    def seek(self, position: int) -> None:
        """Go to where `position` activations have been handed out."""
        self._position = position

    def next(self, out: Tensor) -> None:
        """Fill out [n, d_in] with the next n activations. Asking for more than are left is an IndexError."""
        if self._position + out.shape[0] > self.inputs:
            raise IndexError(f"the stream ends after {self.inputs} activations")
        filled = 0
        while filled < out.shape[0]:
            chunk, start = divmod(self._position, self._buffer.shape[0])
            self._hold(chunk)
            taken = min(out.shape[0] - filled, self._buffer.shape[0] - start)
            out[filled : filled + taken] = self._buffer[start : start + taken]
            filled += taken
            self._position += taken

    def sample(self, inputs: int, purpose: str, index: int = 0) -> Iterator[Tensor]:
        """Up to `inputs` activations of randomly drawn blocks in pieces [n, d_in], for looking at, not for steps.

        They come from the same split but do not move the stream: what is looked at for an initial value or to
        resample is not used up. Fewer come when the split has fewer.
        """
        blocks = generator(self._seed, purpose, index).permutation(self._order.shape[0])
        for first in range(0, len(blocks), _BLOCKS_PER_FORWARD):
            activations = self._activations(blocks[first : first + _BLOCKS_PER_FORWARD]).flatten(0, 1)
            yield activations[:inputs]
            inputs -= activations.shape[0]
            if inputs <= 0:
                return

    def _hold(self, chunk: int) -> None:
        if chunk == self._chunk:
            return
        blocks = self._order[chunk * self._chunk_blocks : (chunk + 1) * self._chunk_blocks]
        rng = generator(self._seed, "order within a chunk", chunk)
        positions = self._sampled_positions(len(blocks), rng)
        places = torch.from_numpy(rng.permutation(len(blocks) * self._per_block)).view(len(blocks), self._per_block)
        for first in range(0, len(blocks), _BLOCKS_PER_FORWARD):
            group = slice(first, first + _BLOCKS_PER_FORWARD)
            activations = self._activations(blocks[group])
            rows = torch.arange(activations.shape[0])[:, None]
            self._buffer[places[group].flatten()] = activations[rows, positions[group]].flatten(0, 1)
        self._chunk = chunk

    def _sampled_positions(self, n_blocks: int, rng: np.random.Generator) -> Tensor:
        everywhere = np.broadcast_to(np.arange(self._tokens.shape[1]), (n_blocks, self._tokens.shape[1]))
        return torch.from_numpy(rng.permuted(everywhere, axis=1)[:, : self._per_block].copy())

    def _activations(self, blocks: npt.NDArray[np.int64]) -> Tensor:
        tokens = torch.from_numpy(self._tokens[blocks].astype(np.int64))
        with torch.no_grad():
            return self._subject.activations(tokens, self._hook).to(self._buffer.dtype)
