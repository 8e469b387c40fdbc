"""One pass over blocks of a corpus split: what the dictionary keeps of the activations, and of the subject's loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.dictionaries import Dictionary
from sae.errors import BadInput
from sae.metrics.bootstrap import ratio_interval
from sae.metrics.results import LossRecovered, Metrics, Reconstruction, Sparsity
from sae.seeds import generator

if TYPE_CHECKING:
    from sae.corpus import TokenIds
    from sae.subjects import Subject

_TOKENS_PER_FORWARD = 4096
_BOOTSTRAP_DRAWS = 2000


def measure(
    subject: Subject,
    dictionary: Dictionary,
    tokens: TokenIds,
    *,
    n_tokens: int | None = None,
    n_loss_tokens: int | None = None,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Metrics:
    """Measure a dictionary on whole blocks drawn at random, without repeats, from tokens [n_blocks, block_tokens].

    Sparsity and reconstruction are taken on `n_tokens` tokens (None: all), the losses on the first `n_loss_tokens` of
    them (None: the same), both rounded up to whole blocks. `report` is given blocks done and blocks in all.

    Raises BadInput when the split has fewer tokens, or the dictionary does not fit the hook.
    """
    width = subject.width(dictionary.hook_name)
    if width != dictionary.d_in:
        raise BadInput(f"the dictionary reads {dictionary.d_in} dimensions, {dictionary.hook_name} has {width}")
    n_blocks = _blocks(tokens, n_tokens, "tokens")
    n_loss_blocks = min(n_blocks, _blocks(tokens, n_loss_tokens, "loss tokens"))
    drawn = generator(seed, "blocks to measure on").permutation(tokens.shape[0])[:n_blocks]
    sums = _Sums(dictionary)
    losses: list[Tensor] = []
    step = max(1, _TOKENS_PER_FORWARD // tokens.shape[1])
    for first in range(0, n_blocks, step):
        batch = torch.from_numpy(tokens[drawn[first : first + step]].astype(np.int64))
        with torch.no_grad():
            activations = subject.activations(batch, dictionary.hook_name).to(torch.float32)
            reconstruction = sums.add(activations)
            if first < n_loss_blocks:
                losses.append(_block_losses(subject, batch, dictionary.hook_name, reconstruction))
        report(min(first + step, n_blocks), n_blocks)
    block_losses = torch.cat(losses)[:n_loss_blocks].numpy()
    return Metrics(
        sparsity=Sparsity.from_counts(sums.fired.numpy(), sums.tokens),
        reconstruction=sums.reconstruction(),
        loss_recovered=loss_recovered(block_losses, tokens_per_block=tokens.shape[1], seed=seed),
        fired=sums.fired.numpy(),
    )


def loss_recovered(block_losses: npt.NDArray[np.float64], *, tokens_per_block: int, seed: int) -> LossRecovered:
    """From the mean loss of each block: float64 [n_blocks, 3] for the subject, the reconstruction, zero ablation.

    All blocks have as many predicted tokens, so the mean over blocks is the mean over tokens.
    """
    original, replaced, ablated = (float(value) for value in block_losses.mean(axis=0))
    gained, possible = block_losses[:, 2] - block_losses[:, 1], block_losses[:, 2] - block_losses[:, 0]
    interval = ratio_interval(gained, possible, draws=_BOOTSTRAP_DRAWS, rng=generator(seed, "loss recovered"))
    defined = interval is not None
    return LossRecovered(
        value=(ablated - replaced) / (ablated - original) if defined else None,
        ci_low=interval[0] if interval is not None else None,
        ci_high=interval[1] if interval is not None else None,
        reason=None if defined else "zero ablation does not clearly raise the subject's loss",
        subject_loss=original,
        reconstruction_loss=replaced,
        ablated_loss=ablated,
        blocks=block_losses.shape[0],
        tokens=block_losses.shape[0] * tokens_per_block,
    )


class _Sums:
    """Running sums over tokens, in float64 where they grow with the number of tokens."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self._weight, self._bias = dictionary.encoder_affine()
        self.tokens = 0
        self.fired = torch.zeros(dictionary.d_sae, dtype=torch.int64)
        self._squared_error = 0.0
        self._norms = 0.0
        # Mean and centred squares of each dimension, merged batch by batch (Chan et al. 1979): sums of raw squares
        # would cancel where the mean is large.
        self._mean = torch.zeros(dictionary.d_in, dtype=torch.float64)
        self._centred_squares = torch.zeros(dictionary.d_in, dtype=torch.float64)

    def add(self, activations: Tensor) -> Tensor:
        """Take in activations [batch, pos, d_in]; returns their reconstruction of the same shape."""
        x = activations.flatten(0, 1)
        latents = self._dictionary.activation(torch.addmm(self._bias, x, self._weight))
        reconstruction = self._dictionary.decode(latents)
        self.fired += (latents > 0).sum(dim=0)
        self._squared_error += float((x - reconstruction).square_().sum(dtype=torch.float64))
        self._norms += float(torch.linalg.vector_norm(x, dim=1).sum(dtype=torch.float64))
        self._merge_moments(x.to(torch.float64))
        return reconstruction.view_as(activations)

    def reconstruction(self) -> Reconstruction:
        variance = float(self._centred_squares.sum())
        return Reconstruction(
            mse=self._squared_error / (self.tokens * self._dictionary.d_in),
            explained_variance=1 - self._squared_error / variance if variance > 0 else None,
            mean_norm=self._norms / self.tokens,
        )

    def _merge_moments(self, x: Tensor) -> None:
        n, mean = x.shape[0], x.mean(dim=0)
        apart = mean - self._mean
        total = self.tokens + n
        self._centred_squares += (x - mean).square_().sum(dim=0) + apart**2 * (self.tokens * n / total)
        self._mean += apart * (n / total)
        self.tokens = total


def _block_losses(subject: Subject, tokens: Tensor, hook: str, reconstruction: Tensor) -> Tensor:
    """Mean next-token cross-entropy (nats) of each block, float64 [batch, 3]: as it is, reconstructed, ablated."""
    replacements: list[Tensor | None] = [None, reconstruction, torch.zeros_like(reconstruction)]
    columns = []
    for replacement in replacements:
        if replacement is None:
            logits = subject.logits(tokens)
        else:
            logits = subject.logits(tokens, hook=hook, replacement=replacement)
        columns.append(_mean_cross_entropy(logits, tokens))
    return torch.stack(columns, dim=1)


def _mean_cross_entropy(logits: Tensor, tokens: Tensor) -> Tensor:
    predicted = logits[:, :-1].to(torch.float32)
    losses = torch.nn.functional.cross_entropy(predicted.transpose(1, 2), tokens[:, 1:], reduction="none")
    return losses.to(torch.float64).mean(dim=1)


def _blocks(tokens: TokenIds, asked: int | None, what: str) -> int:
    n_blocks, block_tokens = int(tokens.shape[0]), int(tokens.shape[1])
    if asked is None:
        return n_blocks
    if asked < 1 or asked > n_blocks * block_tokens:
        raise BadInput(f"{asked:,} {what} asked for, but the split has {n_blocks * block_tokens:,}")
    return -(-asked // block_tokens)
