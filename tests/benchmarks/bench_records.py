"""Reading one unit of a context store against a bare slice of a memory map, and splitting all units of a large run.

The store is the hand-written one of the tests, in the sizes that `sae harvest` writes for a unit (40 top contexts, 8
of each slice, 40 out of context, 100 random, 64 tokens each). Its text is random words; the time of a split depends
little on the text.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.presets import OPENAI, TM
from autointerp.records import ContextStore, split_unit
from autointerp.types import Kind, UnitId
from tests.support.stores import PLANTED, write_store

UNITS = 4600
READS, SPLITS = 2000, 60


def run() -> dict[str, Any]:
    """Milliseconds of processor time (medians) for a read and a bare slice, for a split by each preset, and for all."""
    with tempfile.TemporaryDirectory() as folder:
        store = ContextStore.open(write_store(Path(folder)).path)
        unit = store.unit(Kind.FEATURE, PLANTED["dense"])
        read_ms = _median_ms(lambda: store.read(unit), READS)
        bare_ms = _median_ms(_bare(Path(folder) / "feature", unit), READS)
        split_ms = {
            preset.name: _median_ms(lambda plan=preset.splits: split_unit(store, unit, plan, 0), SPLITS)
            for preset in (OPENAI, TM)
        }
    return {
        "read_unit_ms": read_ms,
        "bare_slice_ms": bare_ms,
        "read_to_bare_ratio": read_ms / bare_ms,
        "split_ms": split_ms,
        "split_4600_units_s": {name: UNITS * ms / 1000 for name, ms in split_ms.items()},
    }


def _bare(folder: Path, unit: UnitId) -> Callable[[], Any]:
    """What cannot be left out: find the unit's rows and slice its activations."""
    offsets, activations = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("offsets", "activations"))
    return lambda: activations[offsets[unit.index] : offsets[unit.index + 1]]


def _median_ms(action: Callable[[], Any], times: int) -> float:
    action()
    spent = []
    for _ in range(times):
        start = time.process_time_ns()
        action()
        spent.append(time.process_time_ns() - start)
    return statistics.median(spent) / 1e6


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))  # noqa: T201
