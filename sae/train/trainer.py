"""What the training loop needs from an architecture. Adding one is a module with its class and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sae.dictionaries import Dictionary
from sae.errors import BadInput
from sae.train.config import TrainConfig
from sae.train.relu_l1 import Losses, ReluL1Trainer


class Trainer(Protocol):
    """Weights, optimiser and step of one architecture."""

    steps_silent: Tensor
    """int64 [d_sae]: steps since each latent last fired."""

    def __init__(self, config: TrainConfig, b_dec: Tensor, rng: np.random.Generator, device: torch.device) -> None: ...

    def step(self, x: Tensor, *, learning_rate: float, l1_coefficient: float, measure: bool) -> Losses | None:
        """One optimiser step on x [batch_size, d_in]; the losses before it when `measure` is set."""

    def input_losses(self, x: Tensor, *, l1_coefficient: float) -> Tensor:
        """The loss of each of the inputs x [n, d_in], float32 [n]."""

    def replace_latents(self, latents: Tensor, inputs: Tensor, alive: Tensor) -> None:
        """Point `latents` int64 [k] at inputs [k, d_in], with fresh moments; `alive` is a mask [d_sae]."""

    def dictionary(self, hook_name: str) -> Dictionary:
        """The dictionary as it stands."""

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs to go on with the same bits."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a `state`."""


TRAINERS: dict[str, type[Trainer]] = {"relu_l1": ReluL1Trainer}


def trainer_class(architecture: str) -> type[Trainer]:
    """The trainer of an architecture; BadInput naming those known when there is none."""
    if architecture not in TRAINERS:
        raise BadInput(f"architecture {architecture!r} is not known; known: {', '.join(sorted(TRAINERS))}")
    return TRAINERS[architecture]
