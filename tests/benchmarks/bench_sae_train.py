"""The training step of `sae train` against the loop one would write in PyTorch: autograd and torch.optim.Adam.

Both train the same autoencoder (512 -> 4096, batch 4096) on the same batch, decoder gradient made orthogonal and rows
renormalised in both. The two take turns, so that other work on the machine hits both; the ratios are what counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sae.subjects.processor import keep_freed_memory
from sae.train import TrainConfig
from sae.train.relu_l1 import ReluL1Trainer

D_IN, EXPANSION, BATCH = 512, 8, 4096
ROUNDS, STEPS = 4, 3


def run() -> dict[str, Any]:
    """Samples per second of each way and, best round against best round, how many times faster ours is."""
    keep_freed_memory()
    batch = torch.relu(torch.randn(BATCH, D_IN, generator=torch.Generator().manual_seed(0)))
    ways = {
        "plain_float32": _plain(batch),
        "ours_float32": _ours(batch, "float32"),
        "ours_bfloat16": _ours(batch.to(torch.bfloat16), "bfloat16"),
    }
    seconds = {name: [_seconds(step, 1)] for name, step in ways.items()}  # first steps, which allocate, are not used
    for _ in range(ROUNDS):
        for name, step in ways.items():
            seconds[name].append(_seconds(step, STEPS))
    best = {name: min(values[1:]) for name, values in seconds.items()}
    return {
        "shape": {"d_in": D_IN, "d_sae": D_IN * EXPANSION, "batch": BATCH},
        "threads": torch.get_num_threads(),
        "samples_per_second": {name: round(BATCH / value) for name, value in best.items()},
        "times_plain": {name: round(best["plain_float32"] / value, 2) for name, value in best.items()},
    }


def _seconds(step: Callable[[], object], steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def _ours(batch: Tensor, dtype: Literal["float32", "bfloat16"]) -> Callable[[], object]:
    config = TrainConfig(expansion=EXPANSION, batch_size=BATCH, dtype=dtype)
    trainer = ReluL1Trainer(config, torch.zeros(D_IN), np.random.default_rng(0), torch.device("cpu"))
    return lambda: trainer.step(batch, learning_rate=1e-3, l1_coefficient=1.0, measure=False)


def _plain(batch: Tensor) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    d_sae = D_IN * EXPANSION
    encoder = torch.from_numpy(rng.normal(size=(D_IN, d_sae)).astype(np.float32) * 0.05).requires_grad_()
    decoder = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(d_sae, D_IN)).astype(np.float32)), dim=1)
    decoder.requires_grad_()
    b_enc, b_dec = torch.zeros(d_sae, requires_grad=True), torch.zeros(D_IN, requires_grad=True)
    optimiser = torch.optim.Adam([encoder, decoder, b_enc, b_dec], lr=1e-3)

    def step() -> None:
        latents = torch.relu((batch - b_dec) @ encoder + b_enc)
        error = latents @ decoder + b_dec - batch
        loss = error.square().mean() + latents.sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert decoder.grad is not None
            decoder.grad -= (decoder.grad * decoder).sum(dim=1, keepdim=True) * decoder
            optimiser.step()
            decoder.div_(decoder.norm(dim=1, keepdim=True))

    return step


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))  # noqa: T201
