"""What this machine's processor and memory allocator do well."""

from __future__ import annotations

import ctypes
import sys
import time

import torch


def resolve_dtype(asked: str) -> torch.dtype:
    """The dtype of the training's matrix products: `asked` is "float32", "bfloat16" or "auto" (the faster one)."""
    if asked == "auto":
        return torch.bfloat16 if bfloat16_speedup() >= 1.5 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[asked]


def bfloat16_speedup() -> float:
    """How many times faster a bfloat16 matrix product of the model's shape is here than a float32 one.

    3 to 6 with AMX; far below 1 where bfloat16 is emulated.
    """
    return _product_seconds(torch.float32) / _product_seconds(torch.bfloat16)


def _product_seconds(dtype: torch.dtype) -> float:
    a, b = torch.ones(1024, 128, dtype=dtype), torch.ones(128, 4096, dtype=dtype)
    out = torch.empty(1024, 4096, dtype=dtype)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory of any size for the next allocation; elsewhere does nothing.

    A training step frees and asks again for the same few tensors of megabytes. By default each goes back to the
    kernel and costs its page faults anew: 15% of the step, measured.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, (1 << 31) - 1)
