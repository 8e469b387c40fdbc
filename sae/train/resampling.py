"""Dead latents are pointed at inputs the autoencoder reconstructs badly (TM, "Neuron Resampling")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sae.errors import BadInput
from sae.train.trainer import Trainer


class WeightedReservoir:
    """`size` rows of a stream without repeats, with probability proportional to their weight, in one pass.

    Each row is given an exponential waiting time with its weight as rate, and the first `size` to arrive are kept:
    the same as drawing one after the other in proportion to the weights of those left (Efraimidis and Spirakis
    2006), without holding the stream. Rows of weight 0 never arrive.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._size, self._rng = size, rng
        self._times: Tensor | None = None
        self._rows: Tensor | None = None

    def offer(self, rows: Tensor, weights: Tensor) -> None:
        """Add rows [n, d] with their weights [n], finite and >= 0."""
        draws = torch.from_numpy(self._rng.exponential(size=rows.shape[0]))
        times = draws / weights.to("cpu", torch.float64)
        arriving = torch.isfinite(times)
        times, rows = times[arriving], rows[arriving.to(rows.device)]
        if self._times is not None and self._rows is not None:
            times, rows = torch.cat([self._times, times]), torch.cat([self._rows, rows])
        first = torch.argsort(times, stable=True)[: self._size]
        self._times, self._rows = times[first], rows[first.to(rows.device)]

    def rows(self) -> Tensor | None:
        """The rows drawn, earliest arrival first; fewer than `size` when the stream had fewer. None without any."""
        return self._rows


@dataclass(frozen=True)
class Resampled:
    """How many latents were dead, and how many of them were given an input (fewer only on very little data)."""

    dead: int
    replaced: int


def resample_dead(
    trainer: Trainer,
    inputs: Iterable[Tensor],
    *,
    window: int,
    l1_coefficient: float,
    batch_size: int,
    rng: np.random.Generator,
) -> Resampled:
    """Replace every latent that was silent for `window` steps by an input drawn with p proportional to loss squared.

    `inputs` is read in pieces [n, d_in], only if something is dead. Raises BadInput when no latent is alive, for
    then the run cannot be saved.
    """
    dead = trainer.steps_silent >= window
    n_dead = int(dead.sum())
    if n_dead == dead.shape[0]:
        raise BadInput(
            f"all {n_dead} latents are dead (silent for {window} steps); lower the L1 coefficient or the learning rate"
        )
    if n_dead == 0:
        return Resampled(dead=0, replaced=0)
    reservoir = WeightedReservoir(n_dead, rng)
    for piece in inputs:
        for batch in torch.split(piece, batch_size):
            reservoir.offer(batch, trainer.input_losses(batch, l1_coefficient=l1_coefficient).square())
    drawn = reservoir.rows()
    if drawn is None or drawn.shape[0] == 0:
        return Resampled(dead=n_dead, replaced=0)
    latents = torch.nonzero(dead).flatten()[: drawn.shape[0]]
    trainer.replace_latents(latents, drawn, ~dead)
    return Resampled(dead=n_dead, replaced=int(latents.shape[0]))
