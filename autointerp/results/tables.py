"""scores.parquet: a row per unit, scorer, metric and role: what was measured and, as a value too, what was not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.errors import BadInput
from autointerp.types import Outcome, Provenance, Score, Scored

__all__ = ["SCHEMA", "Measured", "read_scores", "scores_table", "write_atomically", "write_scores"]

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
        ("explanation", pa.string()),
        ("provenance", pa.string()),  # JSON list of Provenance
    ]
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A score with what a table says of it besides.

    density: of the unit, in [0, 1]; primary: whether the score's metric is the one its protocol ranks by;
    control_subject: what sort of control the unit's subject is, None for the subject under study.
    """

    score: Score
    density: float
    primary: bool
    control_subject: str | None = None


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a whole file or none: a temporary sibling, synced, then renamed."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


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
    bodies = [{**asdict(one), "usage": one.usage.to_json()} for one in provenance]
    return json.dumps(bodies, sort_keys=True, separators=(",", ":"))


def _row(measured: Measured) -> dict[str, Any]:
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
        "explanation": score.explanation,
        "provenance": provenance_json(score.provenance),
        **_outcome_columns(score.outcome),
    }


def scores_table(rows: Iterable[Measured]) -> pa.Table:
    """The table of the scores, in a canonical order."""
    made = [_row(row) for row in rows]
    made.sort(key=lambda row: (row["scorer"], row["role"], row["kind"], row["unit"], not row["primary"], row["metric"]))
    columns = {name: [row.get(name) for row in made] for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA)


def write_scores(folder: Path, table: pa.Table) -> Path:
    """Writes scores.parquet; the same table always gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    path = folder / "scores.parquet"
    write_atomically(path, sink.getvalue().to_pybytes())
    return path


def read_scores(folder: Path) -> pd.DataFrame:
    """The scores of a run's folder. Raises BadInput where the folder holds no readable scores of this format."""
    path = folder / "scores.parquet"
    if not path.is_file():
        raise BadInput(f"{folder} holds no scores.parquet: give the folder of a finished run")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path} cannot be read as Parquet ({error}): run the job again") from error
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise BadInput(f"{path} lacks the column {missing[0]!r}: it was written by another version; run the job again")
    frame: pd.DataFrame = table.to_pandas()
    return frame
