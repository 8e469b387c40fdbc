"""Which precision the products run in when the person leaves it to the program."""

from __future__ import annotations

from typing import Literal

import torch

from sae.errors import BadInput

Dtype = Literal["float32", "bfloat16"]


def resolve_dtype(asked: str, device: torch.device) -> Dtype:
    """ "auto" becomes bfloat16 on a GPU and on a CPU with AMX (there five times as fast), float32 elsewhere.

    On other CPUs bfloat16 is emulated or little faster, so it is only used when asked for by name.
    """
    match asked:
        case "float32" | "bfloat16":
            return asked
        case "auto":
            fast = device.type != "cpu" or bool(torch.cpu.get_capabilities().get("amx_bf16", False))
            return "bfloat16" if fast else "float32"
        case _:
            raise BadInput(f"dtype {asked!r} is not known; choose auto, float32 or bfloat16")
