"""Tables of results written from rows by hand, as a run writes them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from autointerp.results.tables import Measured, ScoreRows, atomically


def write_scores(folder: Path, rows: Iterable[Measured]) -> Path:
    """scores.parquet of these rows."""
    path = folder / "scores.parquet"
    with closing(ScoreRows(folder)) as table:
        for row in rows:
            table.add(row)
        with atomically(path) as file:
            table.write(file)
    return path
