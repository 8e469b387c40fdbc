"""Dictionary training: shuffled activations, the step, resampling, schedules, checkpoints that resume."""

from sae.train.config import TrainConfig
from sae.train.loop import Progress, train
from sae.train.median import geometric_median
from sae.train.precision import resolve_dtype
from sae.train.stream import ActivationStream
from sae.train.trainer import TRAINERS, Trainer

__all__ = [
    "TRAINERS",
    "ActivationStream",
    "Progress",
    "TrainConfig",
    "Trainer",
    "geometric_median",
    "resolve_dtype",
    "train",
]
