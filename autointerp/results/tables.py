"""scores.parquet: a row per unit, scorer, metric and role: what was measured and, as a value too, what was not."""

from __future__ import annotations

import json
import marshal
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.results.spool import Spool
from autointerp.types import Outcome, Provenance, Score, Scored

__all__ = [
    "SCHEMA",
    "Measured",
    "ScoreRows",
    "atomically",
    "write_atomically",
]

SCHEMA = pa.schema(
    [
        ("unit", pa.string()),
        ("kind", pa.string()),
        ("index", pa.int64()),
        ("scorer", pa.string()),
        ("scorer_version", pa.int32()),
        ("metric", pa.string()),
        ("primary", pa.bool_()),  # whether this is the metric by which the scorer's protocol ranks
        ("role", pa.string()),
        ("control_subject", pa.string()),  # null for the subject under study, else how it was made ("shuffled_weights")
        ("status", pa.string()),  # "scored" or "unscored"
        ("reason", pa.string()),  # of an unscored row, else null
        ("detail", pa.string()),
        ("value", pa.float64()),  # null where unscored: never 0 and never NaN
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("ci_method", pa.string()),
        ("n_contexts", pa.int64()),
        ("n_tokens", pa.int64()),
        ("attempted", pa.int64()),
        ("failed", pa.int64()),
        ("density", pa.float64()),
        ("single_token", pa.bool_()),  # null where the unit has too few top contexts to say
        ("explanation", pa.string()),
        ("provenance", pa.string()),  # JSON list of Provenance
    ]
)


_GROUP_ROWS = 65_536
_GROUP_BYTES = 16 << 20  # of the values in a row group, whichever is reached first: both are held to write and read it
_BATCH_ROWS = 4096  # a multiple of the rows that the writer looks at together, so that batches leave no trace in a file

_PROVENANCE = [one.name for one in fields(Provenance)]


@dataclass(frozen=True, slots=True)
class Measured:
    """A score with what a table says of it besides.

    density: of the unit, in [0, 1]; primary: whether the score's metric is the one its protocol ranks by;
    control_subject: what sort of control the unit's subject is, None for the subject under study; single_token: see
    `ContextStore.single_token`.
    """

    score: Score
    density: float
    primary: bool
    control_subject: str | None = None
    single_token: bool | None = None


@contextmanager
def atomically(path: Path) -> Iterator[IO[bytes]]:
    """A file that is written whole or not at all: a temporary sibling, synced, then renamed; removed on an error."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a whole file or none (see `atomically`)."""
    with atomically(path) as file:
        file.write(content)


def _outcome_columns(outcome: Outcome) -> dict[str, Any]:
    if not isinstance(outcome, Scored):
        return {"status": "unscored", "reason": outcome.reason.value, "detail": outcome.detail}
    columns: dict[str, Any] = {
        "status": "scored",
        "value": outcome.value,
        "n_contexts": outcome.n_contexts,
        "n_tokens": outcome.n_tokens,
    }
    if outcome.interval is not None:
        interval = outcome.interval
        columns |= {"ci_low": interval.low, "ci_high": interval.high, "ci_method": interval.method}
    return columns


def provenance_json(provenance: Sequence[Provenance]) -> str:
    """Canonical JSON of a value's provenance."""
    bodies = [
        {**{name: getattr(one, name) for name in _PROVENANCE}, "usage": one.usage.to_json()} for one in provenance
    ]
    return json.dumps(bodies, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _row(measured: Measured, provenance: str) -> dict[str, Any]:
    score = measured.score
    return {
        "unit": str(score.unit),
        "kind": score.unit.kind.value,
        "index": score.unit.index,
        "scorer": score.scorer,
        "scorer_version": score.scorer_version,
        "metric": score.metric,
        "primary": measured.primary,
        "role": score.role.value,
        "control_subject": measured.control_subject,
        "attempted": score.attempted,
        "failed": score.failed,
        "density": measured.density,
        "single_token": measured.single_token,
        "explanation": score.explanation,
        "provenance": provenance,
        **_outcome_columns(score.outcome),
    }


class ScoreRows:
    """The rows of scores.parquet, added in any order, kept on disk, written in a canonical order."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder)
        self._provenance: tuple[Provenance, ...] = ()
        self._json = provenance_json(())

    def close(self) -> None:
        """Forgets the rows."""
        self._spool.close()

    def add(self, measured: Measured) -> None:
        """Keeps a row. Raises ValueError, naming unit and column, where a number of it is not finite."""
        score = measured.score
        if score.provenance is not self._provenance:  # the metrics of one judgement share it
            self._provenance, self._json = score.provenance, provenance_json(score.provenance)
        row = _row(measured, self._json)
        key = (row["scorer"], row["role"], row["kind"], row["unit"], not row["primary"], row["metric"])
        self._spool.add(key, marshal.dumps(_plain(row)))

    def write(self, file: IO[bytes]) -> None:
        """Writes the table; the same rows always give the same bytes."""
        rows = (marshal.loads(body) for _, body in self._spool.in_order())
        with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for group in _groups(_batches(rows)):
                writer.write_table(group, row_group_size=_GROUP_ROWS)


def _number(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"is {value}, which is no number")
    return float(value)


def _text(value: Any) -> str:
    """Half of a surrogate pair, which JSON can escape and a model can write, has no UTF-8: U+FFFD stands for it."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_PLAIN: dict[pa.DataType, Callable[[Any], bool | int | float | str]] = {
    pa.string(): _text,
    pa.float64(): _number,
    pa.bool_(): bool,
    pa.int64(): int,
    pa.int32(): int,
}
_COLUMNS = [(field.name, _PLAIN[field.type]) for field in SCHEMA]


def _plain(row: Mapping[str, Any]) -> list[bool | int | float | str | None]:
    """The values of a row, in the order of the columns, as Python's own types."""
    values: list[bool | int | float | str | None] = []
    for name, plain in _COLUMNS:
        value = row.get(name)
        try:
            values.append(None if value is None else plain(value))
        except ValueError as error:
            raise ValueError(f"{row['unit']}, {row['scorer']}, {row['metric']}: {name} {error}") from error
    return values


def _batches(rows: Iterator[list[Any]]) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, _BATCH_ROWS)):
        columns = [pa.array(column, field.type) for column, field in zip(zip(*some, strict=True), SCHEMA, strict=True)]
        yield pa.record_batch(columns, schema=SCHEMA)


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Row groups of bounded size."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= _GROUP_ROWS or sum(one.nbytes for one in held) >= _GROUP_BYTES:
            yield pa.Table.from_batches(held, SCHEMA)
            held = []
    if held:
        yield pa.Table.from_batches(held, SCHEMA)
