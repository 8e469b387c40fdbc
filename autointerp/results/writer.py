"""Writing a run's folder while its units finish: nothing of a unit stays in memory.

    with RunWriter(folder) as writer:
        for each unit, in any order:
            writer.add(measured)          # a row of scores.parquet, a `Measured`
            writer.add_detail(line)       # a line of units.jsonl.gz, as `detail` makes it
        writer.finish(Finished(job, presets, stores, account))

`add` and `add_detail` spool to nameless temporary files in the folder (`spool`), so the peak of memory does not depend
on how many units there are. `finish` brings both into their canonical order and writes everything: the same rows give
the same bytes, in whatever order they came. A block that is left without `finish`, or by an error, writes nothing and
leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from autointerp.results.details import DetailLines
from autointerp.results.figures import write_figures
from autointerp.results.report import PLACES, write_report
from autointerp.results.run_folder import Finished, Tally, manifest_text, remove_leftovers
from autointerp.results.standing import write_ranking
from autointerp.results.summary import summarise
from autointerp.results.tables import Measured, ScoreRows, atomically

__all__ = ["RunWriter"]


class RunWriter:
    """The folder of a run that is under way; see the module. `add` and `add_detail` are for one thread."""

    def __init__(self, folder: Path) -> None:
        """folder: made by `prepare_folder`."""
        self._folder = folder
        self._rows = ScoreRows(folder)
        self._details = DetailLines(folder)
        self._tally = Tally()

    def __enter__(self) -> RunWriter:
        remove_leftovers(self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()
        self._details.close()

    def add(self, measured: Measured) -> None:
        """A row of scores.parquet. Raises ValueError where a number of it is not finite, OSError on a full disk."""
        self._rows.add(measured)
        self._tally.add(measured)

    def add_detail(self, line: Mapping[str, Any]) -> None:
        """A line of units.jsonl.gz (see `detail`). Raises ValueError and OSError as `add` does."""
        self._details.add(line)

    def finish(self, run: Finished) -> dict[str, Any]:
        """Writes every file of the folder, and gives its summary (see `summarise`) with the first places only."""
        with ExitStack() as written:  # all or none: each is whole before the first is given its name
            manifest, details, scores = (
                written.enter_context(atomically(self._folder / name))
                for name in ("manifest.json", "units.jsonl.gz", "scores.parquet")
            )
            self._rows.write(scores)
            self._rows.close()
            self._details.write(details)
            self._details.close()
            manifest.write(manifest_text(run, self._tally))
        write_ranking(self._folder)
        summary = summarise(self._folder, PLACES)
        write_figures(self._folder, summary)
        write_report(self._folder, summary)
        return summary
