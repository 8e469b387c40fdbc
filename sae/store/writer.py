"""Writing a context store as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from sae.errors import BadInput
from sae.files import file_entry, render_json, sync
from sae.store.layout import FORMAT, VERSION

MANIFEST = "manifest.json"


class StoreWriter:
    """Writes a store into `<out>.part` and renames that to `out` when it is whole.

    What an earlier, interrupted writer left in `<out>.part` is discarded. Raises BadInput if `out` is there already or
    its parent cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.part = out, out.with_name(out.name + ".part")
        if out.exists():
            raise BadInput(f"{out} exists already; name another folder with --out, or remove it first")
        self._names: list[str] = []
        self._mapped: list[np.memmap[Any, Any]] = []
        try:
            if self.part.exists():
                shutil.rmtree(self.part)
            self.part.mkdir(parents=True)
        except OSError as error:
            raise BadInput(f"{self.part}: {error.strerror}; name a folder that can be written with --out") from error

    def map(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
        """A new array of zeros in file `name`, to be filled in any order while memory stays free."""
        path = self._new(name)
        if 0 in shape:  # an empty file cannot be mapped
            np.save(path, np.zeros(shape, dtype))
            return np.zeros(shape, dtype)
        mapped = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        self._mapped.append(mapped)
        return mapped

    def save(self, name: str, array: NDArray[Any], dtype: DTypeLike) -> None:
        """Write an array as `dtype`. Raises OverflowError if a whole number of it does not fit."""
        if np.issubdtype(dtype, np.integer) and array.size:
            limits = np.iinfo(np.dtype(dtype))
            if array.min() < limits.min or array.max() > limits.max:
                raise OverflowError(f"{name}: values from {array.min()} to {array.max()} do not fit {np.dtype(dtype)}")
        np.save(self._new(name), np.ascontiguousarray(array, dtype))

    def table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as Parquet, without its index."""
        table.to_parquet(self._new(name), index=False)

    def text(self, name: str, content: str) -> None:
        """Write a text file."""
        self._new(name).write_text(content, encoding="utf-8")

    def finish(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Complete the manifest with format, version and checksums, see all on disk, and give the store its name.

        Returns the manifest.
        """
        for mapped in self._mapped:
            mapped.flush()
        self._mapped.clear()
        files = {name: file_entry(self.part / name) for name in sorted(self._names)}
        whole = {"format": FORMAT, "version": VERSION, **manifest, "files": files}
        (self.part / MANIFEST).write_bytes(render_json(whole, indent=1))
        for name in [*files, MANIFEST]:
            sync(self.part / name)
        for folder in {self.part, *(path.parent for path in map(self.part.joinpath, files))}:
            sync(folder)
        os.rename(self.part, self.out)
        sync(self.out.parent)
        return whole

    def _new(self, name: str) -> Path:
        if name in self._names:
            raise ValueError(f"{name} is written twice")
        self._names.append(name)
        path = self.part / name
        path.parent.mkdir(exist_ok=True)
        return path


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a store. Raises BadInput if there is none, or if it is something else or of another version."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not the manifest of a context store ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{path}: not the manifest of a context store (its format is not {FORMAT!r})")
    if manifest.get("version") != VERSION:
        raise BadInput(f"{path}: version {manifest.get('version')!r}; this program knows version {VERSION}")
    return manifest
