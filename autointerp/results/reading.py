"""scores.parquet, read a few thousand rows at a time: a run's table may be larger than the memory there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.results.tables import SCHEMA

__all__ = ["UnitKeys", "primary_rows", "read_scores", "score_batches"]

_BATCH_ROWS = 4096


def read_scores(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The scores of a run's folder, whole (or some columns of them): for a hand that looks at one run.

    What the program itself does with a run that may be large goes by `score_batches`. Raises BadInput where the folder
    holds no readable scores of this format.
    """
    batches = list(score_batches(folder, SCHEMA.names if columns is None else columns))
    fields = [SCHEMA.field(name) for name in (SCHEMA.names if columns is None else columns)]
    frame: pd.DataFrame = pa.Table.from_batches(batches, pa.schema(fields)).to_pandas()
    return frame


def score_batches(folder: Path, columns: Sequence[str], scorer: str | None = None) -> Iterator[pa.RecordBatch]:
    """Some columns of a run's table, some thousands of rows at a time; of one scorer, where it is named.

    Raises BadInput where the folder holds no readable scores of this format.
    """
    path = folder / "scores.parquet"
    if not path.is_file():
        raise BadInput(f"{folder} holds no scores.parquet: give the folder of a finished run")
    wanted = [*columns, *([] if scorer is None or "scorer" in columns else ["scorer"])]
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in SCHEMA.names if name not in file.schema_arrow.names]
            if missing:
                raise BadInput(
                    f"{path} lacks the column {missing[0]!r}: it was written by another version; run the job again"
                )
            for number in range(file.num_row_groups):  # one by one: asked for together, many are held together
                if not _may_hold(file, number, scorer):
                    continue
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[number], columns=wanted, use_threads=False):
                    kept = batch if scorer is None else batch.filter(pc.equal(batch["scorer"], scorer))
                    yield kept.select(list(columns))
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path} cannot be read as Parquet ({error}): run the job again") from error


def _may_hold(file: pq.ParquetFile, group: int, scorer: str | None) -> bool:
    """Whether a row group may have rows of a scorer, by the smallest and largest name that its header gives."""
    statistics = file.metadata.row_group(group).column(file.schema_arrow.get_field_index("scorer")).statistics
    if scorer is None or statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= scorer <= statistics.max)


def primary_rows(folder: Path, columns: Sequence[str], scorer: str | None = None) -> pd.DataFrame:
    """The rows of primary metrics, of one scorer where it is named, in few bytes a row.

    Texts become categories, in alphabetical order; `unit` becomes a number (see `UnitKeys`). Raises BadInput as
    `read_scores`.
    """
    keys = UnitKeys()
    coded = {name: _Codes() for name in columns if pa.types.is_string(SCHEMA.field(name).type) and name != "unit"}
    found: dict[str, list[NDArray[np.generic]]] = {name: [] for name in columns}
    for batch in score_batches(folder, list(dict.fromkeys([*columns, "index", "primary"])), scorer):
        kept = batch.filter(batch["primary"])
        for name, parts in found.items():
            if name == "unit":
                parts.append(keys.of(kept))
            elif name in coded:
                parts.append(coded[name].of(kept[name]))
            else:
                parts.append(kept[name].to_numpy(zero_copy_only=False))
    joined: dict[str, Any] = {}
    for name in columns:
        parts = found.pop(name)
        joined[name] = np.concatenate(parts) if parts else np.zeros(0)
        if name in coded:
            joined[name] = coded[name].named(joined[name])
    return pd.DataFrame(joined, copy=False)


class UnitKeys:
    """Units as 64-bit numbers, the same for the same unit: what comes before the index of its name, and the index."""

    _SHIFT = 44

    def __init__(self) -> None:
        self._families = _Codes()

    def of(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """The keys of a batch with the columns unit and index."""
        families = pc.replace_substring_regex(batch["unit"], r"/[0-9]+$", "")
        index = batch["index"].to_numpy(zero_copy_only=False).astype(np.int64)
        keys: NDArray[np.int64] = (self._families.of(families).astype(np.int64) << self._SHIFT) + index
        return keys

    def name(self, key: int) -> str:
        """The unit of a key."""
        return f"{self._families.names[key >> self._SHIFT]}/{key % (1 << self._SHIFT)}"


class _Codes:
    """Texts as small numbers, in the order in which they are first seen; -1 for null."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        return list(self._codes)

    def of(self, texts: pa.Array) -> NDArray[np.int16]:
        encoded = texts.dictionary_encode()
        codes = [self._codes.setdefault(text, len(self._codes)) for text in encoded.dictionary.to_pylist()]
        places = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
        found: NDArray[np.int16] = np.array([*codes, -1], dtype=np.int16)[places]
        return found

    def named(self, codes: NDArray[np.generic]) -> pd.Categorical[str]:
        """Codes as a column of categories in alphabetical order."""
        names = self.names
        alphabetical = sorted(names)
        place = {name: number for number, name in enumerate(alphabetical)}
        moved = np.array([*(place[name] for name in names), -1], dtype=np.int16)[codes.astype(np.int16)]
        named: pd.Categorical[str] = pd.Categorical.from_codes(moved, pd.Index(alphabetical, dtype="str"))
        return named
