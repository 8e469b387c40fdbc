"""What changes over a run: learning rate, L1 coefficient, and when dead latents are resampled.

A step is counted from 0; `after` counts steps done.
"""

from __future__ import annotations

from sae.train.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, constant, linear decay; the last step still learns, at one part of the decay's length."""
    warmup = round(config.steps * config.lr_warmup_fraction)
    decay = round(config.steps * config.lr_decay_fraction)
    rising = (step + 1) / warmup if step < warmup else 1.0
    falling = (config.steps - step) / decay if step >= config.steps - decay else 1.0
    return config.learning_rate * min(rising, falling)


def l1_coefficient(step: int, config: TrainConfig) -> float:
    """Linear warm-up from 0 over `l1_warmup_fraction` of the run, then constant."""
    warmup = round(config.steps * config.l1_warmup_fraction)
    return config.l1_coefficient * (min(1.0, (step + 1) / warmup) if warmup else 1.0)


def dead_window(config: TrainConfig) -> int:
    """Steps a latent must have been silent to be dead: TM's 12,500 of 1M, scaled to the run, at least 1."""
    return max(1, round(config.steps * config.dead_window_fraction))


def resample_after(config: TrainConfig) -> frozenset[int]:
    """Numbers of steps done after which dead latents are resampled: TM's 25k, 50k, 75k, 100k of 1M, scaled.

    Never before a whole window has passed, when nothing can be called dead, nor after the last step, when a new
    latent could no longer learn.
    """
    window = dead_window(config)
    steps = {max(window, round(config.steps * part)) for part in config.resample_fractions}
    return frozenset(after for after in steps if after < config.steps)
