"""The settings of one training run, checked when they are made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from sae.errors import BadInput

MseConvention = Literal["mean", "sum"]
EncoderInit = Literal["kaiming_uniform", "decoder"]


@dataclass(frozen=True)
class TrainConfig:
    """How a dictionary is trained. The defaults are the paper's (TM) where it prints them, scaled to the run.

    The loss of one input is ``reconstruction + l1_coefficient * sum_i f_i`` and of a batch the mean over it, where
    reconstruction is the mean ("mean", TM's prose) or the sum ("sum", TM's printed formula) of the squared errors
    over the d_in elements. The two differ by a factor d_in in what a coefficient means.

    Raises BadInput when a setting is out of its range.
    """

    architecture: str = "relu_l1"
    expansion: int = 8
    """Latents per dimension of the hook; TM: 1 to 256, the run analysed most 8."""
    steps: int = 10_000
    batch_size: int = 4096
    l1_coefficient: float = 0.004
    """The one TM prints. It is on the raw scale of the activations, which are not normalised: too high and every latent
    dies, too low and L0 and the share of densities above 1% rise; look at both in `sae metrics`."""
    mse_convention: MseConvention = "mean"
    learning_rate: float = 1e-3
    lr_warmup_fraction: float = 0.01
    """Part of the run over which the learning rate rises linearly from 0."""
    lr_decay_fraction: float = 0.2
    """Part of the run, at its end, over which the learning rate falls linearly to 0."""
    l1_warmup_fraction: float = 0.0
    """Part of the run over which the L1 coefficient rises linearly from 0; 0 as in TM: none."""
    encoder_init: EncoderInit = "kaiming_uniform"
    """Where the encoder starts: drawn apart from the decoder (TM), or as the decoder's transpose. In runs 300 times
    shorter than TM's the second keeps several times as many latents at work (results/LOG.md)."""
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    resample_fractions: tuple[float, ...] = (0.025, 0.05, 0.075, 0.1)
    """When dead latents are resampled, as parts of the run (TM: steps 25k, 50k, 75k, 100k of 1M); () for never."""
    dead_window_fraction: float = 0.0125
    """A latent is dead when it was silent for this part of the run (TM: 12,500 steps of 1M)."""
    resample_inputs: int = 409_600
    """Inputs whose loss is computed to choose new directions (TM: 819,200, which is 100 of its batches of 8,192)."""
    resample_encoder_scale: float = 0.2
    median_inputs: int = 32_768
    """Inputs of which the geometric median, where b_dec starts, is taken."""
    tokens_per_context: int | None = None
    """Positions sampled, without repeats, of each block; None for all of them."""
    buffer_inputs: int = 500_000
    """Activations mixed with one another at a time."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the matrix products. Weights, gradients in Adam and its moments are float32 in either case."""
    subject_dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    log_every: int = 50
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name in _POSITIVE_COUNTS:
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in _FRACTIONS:
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        for name in ("learning_rate", "adam_epsilon", "resample_encoder_scale"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in ("adam_beta1", "adam_beta2"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "at least 0 and below 1")
        _require(self.l1_coefficient >= 0, "l1_coefficient", self.l1_coefficient, "at least 0")
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        _require(
            self.encoder_init in ("kaiming_uniform", "decoder"),
            "encoder_init",
            self.encoder_init,
            "kaiming_uniform or decoder",
        )
        _require(self.mse_convention in ("mean", "sum"), "mse_convention", self.mse_convention, "mean or sum")
        for name in ("dtype", "subject_dtype"):
            _require(getattr(self, name) in ("float32", "bfloat16"), name, getattr(self, name), "float32 or bfloat16")
        _require(
            self.tokens_per_context is None or self.tokens_per_context >= 1,
            "tokens_per_context",
            self.tokens_per_context,
            "at least 1",
        )
        _require(
            all(self.dead_window_fraction <= part <= 1 for part in self.resample_fractions),
            "resample_fractions",
            self.resample_fractions,
            f"between dead_window_fraction ({self.dead_window_fraction}) and 1",
        )
        _require(
            self.lr_warmup_fraction + self.lr_decay_fraction <= 1,
            "lr_warmup_fraction + lr_decay_fraction",
            self.lr_warmup_fraction + self.lr_decay_fraction,
            "at most 1",
        )

    @property
    def inputs(self) -> int:
        """Activations the run uses, each once."""
        return self.steps * self.batch_size

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values, for manifests and checkpoints."""
        values = dataclasses.asdict(self)
        values["resample_fractions"] = list(self.resample_fractions)
        return values

    def difference(self, other: dict[str, Any]) -> str | None:
        """The first setting that another run's `as_dict` has otherwise, in words; None when all agree.

        How often a checkpoint is written changes no result, so it may differ.
        """
        for name, value in self.as_dict().items():
            there = other.get(name, _BEFORE.get(name))
            if name != "checkpoint_every" and there != value:
                return f"{name} is {there} there and {value} here"
        return None


_BEFORE = {"encoder_init": "kaiming_uniform"}
"""What settings that came later were in runs that do not name them."""

_POSITIVE_COUNTS = (
    "expansion",
    "steps",
    "batch_size",
    "resample_inputs",
    "median_inputs",
    "buffer_inputs",
    "log_every",
    "checkpoint_every",
)
_FRACTIONS = ("lr_warmup_fraction", "lr_decay_fraction", "l1_warmup_fraction", "dead_window_fraction")


def _require(holds: bool, name: str, value: object, what: str) -> None:
    if not holds:
        raise BadInput(f"{name} must be {what}, found {value}")
