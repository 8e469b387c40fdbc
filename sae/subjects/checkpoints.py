"""Checkpoints of a training run: one file, replaced whole, from which the run goes on to the same bits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sae.errors import BadInput
from sae.files import write_atomically

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """`state`: JSON values (step, losses, ...). `tensors`: the weights and Adam's moments, by name."""

    state: dict[str, Any]
    tensors: dict[str, Tensor]


def write_checkpoint(folder: Path, state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the model, the optimizer and `state` to the folder's checkpoint."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in moments.items()}
    write_atomically(folder / CHECKPOINT, save(tensors, metadata={"state": json.dumps(state)}))


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The folder's checkpoint, or None if there is none. Raises BadInput if it cannot be read."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
            state = json.loads(stored.metadata()["state"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: not a checkpoint of this program ({error}); remove it to train anew") from error
    return Checkpoint(state, tensors)


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the checkpoint's weights and moments into a model and an optimizer made from the same settings."""
    model.load_state_dict(_under("model.", checkpoint.tensors))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("adam.", checkpoint.tensors).items():
        index, _, moment = name.partition(".")
        moments.setdefault(int(index), {})[moment] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
