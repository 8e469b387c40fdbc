"""A run's state on disk, so that it goes on after a kill with the same bits: tensors and a JSON header, no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as render_safetensors
from torch import Tensor

from sae.errors import BadInput
from sae.files import write_atomically

CHECKPOINT_FILE = "checkpoint.safetensors"
_HEADER = "sae-train-checkpoint"
_VERSION = 1


@dataclass
class RunState:
    """What a run is and how far it is, apart from its tensors.

    `identity` is everything that must be the same for the run to be continued: subject, hook, corpus.
    """

    config: dict[str, Any]
    identity: dict[str, Any]
    step: int = 0
    seconds: float = 0.0
    mean_norm: float = 0.0
    resamplings: list[dict[str, int]] = field(default_factory=list)
    log: list[dict[str, float]] = field(default_factory=list)


def write_checkpoint(folder: Path, state: RunState, tensors: dict[str, Tensor]) -> None:
    """Write the checkpoint of `folder`, replacing the one before it only when it is whole."""
    header = json.dumps({"version": _VERSION, **asdict(state)}, allow_nan=False)
    owned = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomically(folder / CHECKPOINT_FILE, render_safetensors(owned, metadata={_HEADER: header}))


def read_checkpoint(folder: Path) -> tuple[RunState, dict[str, Tensor]] | None:
    """State and tensors of the folder's checkpoint; None when there is none. BadInput when it is damaged."""
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        header = json.loads(metadata[_HEADER])
        version = header.pop("version")
        if version != _VERSION:
            raise BadInput(f"{path}: version {version}, this program reads version {_VERSION}; delete it to start anew")
        return RunState(**header), tensors
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise BadInput(f"{path}: not a whole checkpoint ({error}); delete it to start anew") from error
