"""A context store of as many features as wanted: those of the hand-written store, over and over."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.stores import PLANTED, refresh_manifest, write_store

__all__ = ["write_many"]

_FIRING = [index for name, index in PLANTED.items() if name != "silent"]
_AT_ONCE = 1000


def write_many(folder: Path, units: int) -> Path:
    """A store of `units` features, 24 top contexts of 16 tokens and two of each slice for each of them."""
    with tempfile.TemporaryDirectory() as scratch:
        few = write_store(Path(scratch) / "few", window=16, top=24, per_interval=2, random=24, out_of_context=2).path
        for part in ("contexts", "random"):
            shutil.copytree(few / part, folder / part)
        for name in ("vocab.json", "documents.parquet"):
            shutil.copy(few / name, folder / name)
        (folder / "feature").mkdir()
        which = np.resize(_FIRING, units)
        n_records = _copy_arrays(few / "feature", folder / "feature", which)
        table = pq.read_table(few / "feature" / "statistics.parquet").take(pa.array(which))
        pq.write_table(table.set_column(0, "unit", pa.array(range(units))), folder / "feature" / "statistics.parquet")
        manifest = json.loads((few / "manifest.json").read_text())
    manifest["kinds"] = {"feature": {"units": units, "records": n_records}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    refresh_manifest(folder)
    return folder


def _copy_arrays(few: Path, many: Path, which: np.ndarray) -> int:
    offsets = np.load(few / "offsets.npy")
    lengths = np.diff(offsets)[which]
    np.save(many / "offsets.npy", np.cumsum([0, *lengths]))
    for path in few.glob("*.npy"):
        if path.stem == "offsets":
            continue
        array = np.load(path)
        by_record = len(array) == offsets[-1]
        total = int(lengths.sum()) if by_record else len(which)
        rows = (array[offsets[unit] : offsets[unit + 1]] if by_record else array[unit : unit + 1] for unit in which)
        _fill(many / path.name, array, total, rows)
    return int(lengths.sum())


def _fill(path: Path, like: np.ndarray, total: int, rows: Iterator[Any]) -> None:
    target = np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=(total, *like.shape[1:]))
    start = 0
    while chunk := [row for _, row in zip(range(_AT_ONCE), rows, strict=False)]:
        block = np.concatenate(chunk)
        target[start : start + len(block)] = block
        start += len(block)
    target.flush()
