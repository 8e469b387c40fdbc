"""The numbers that say how good a dictionary is, and where they come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ULTRA_LOW_DENSITY = 1e-6
"""TM: latents rarer than this are left out of the analyses."""
HIGH_DENSITY = 0.01
"""TM: many latents above 1% mean that the L1 coefficient is too low."""


@dataclass(frozen=True)
class LossRecovered:
    """How much of what the hook does for the subject's loss the reconstruction keeps.

    ``value = (H* - H0) / (H_orig - H0)`` (TM), with H the cross-entropy in nats per predicted token: H_orig of the
    subject as it is (`subject_loss`), H* with the hook's activations replaced by their reconstruction at every
    position (`reconstruction_loss`), H0 with zeros in their place (`ablated_loss`). 1: nothing is lost; 0: no better
    than no activations; it can be negative. [ci_low, ci_high] is the 95% interval of a bootstrap over blocks.

    `value` and interval are None, with a `reason`, where zero ablation does not clearly hurt the subject: then the
    ratio has no meaning.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    reason: str | None
    subject_loss: float
    reconstruction_loss: float
    ablated_loss: float
    blocks: int
    tokens: int


@dataclass(frozen=True)
class Sparsity:
    """How often latents fire on `tokens` tokens. Density is the part of the tokens on which a latent is above 0."""

    tokens: int
    l0: float
    """Mean number of latents above 0 on a token."""
    dead: int
    """Silent on all these tokens; a density below 1 / tokens cannot be told from 0."""
    ultra_low_density: int | None
    """Not dead, density below 1e-6; None where `tokens` are too few to see that."""
    high_density: int
    """Density above 1%."""
    alive: int
    """Neither dead nor of ultra-low density: the latents worth analysing."""

    @classmethod
    def from_counts(cls, fired: npt.NDArray[np.int64], tokens: int) -> Sparsity:
        """From how many of `tokens` tokens each latent fired on, int64 [d_sae]."""
        density = fired / tokens
        rare = int(((fired > 0) & (density < ULTRA_LOW_DENSITY)).sum())
        dead = int((fired == 0).sum())
        return cls(
            tokens=tokens,
            l0=float(density.sum()),
            dead=dead,
            ultra_low_density=rare if tokens * ULTRA_LOW_DENSITY > 1 else None,
            high_density=int((density > HIGH_DENSITY).sum()),
            alive=len(fired) - dead - rare,
        )


@dataclass(frozen=True)
class Reconstruction:
    """How close x^ = decode(encode(x)) comes to x."""

    mse: float
    """Mean over tokens and dimensions of (x - x^)^2."""
    explained_variance: float | None
    """1 - sum (x - x^)^2 / sum (x - mean(x))^2, both sums over tokens and dimensions, the mean taken of each dimension
    apart. None where the activations do not vary."""
    mean_norm: float
    """Mean Euclidean norm of x."""


@dataclass(frozen=True)
class Metrics:
    """Everything `sae metrics` says. `fired` int64 [d_sae] is kept for the figure."""

    sparsity: Sparsity
    reconstruction: Reconstruction
    loss_recovered: LossRecovered
    fired: npt.NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """JSON values, without the array."""
        return {
            "sparsity": asdict(self.sparsity),
            "reconstruction": asdict(self.reconstruction),
            "loss_recovered": asdict(self.loss_recovered),
        }
