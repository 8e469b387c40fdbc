"""What a person sees while a job runs: phase, count, rate, time left, and how much was asked of a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["Advance", "phases"]

Advance = Callable[[str], None]
"""Says that one more unit is done; the text is shown beside the bar ("12 replayed, 3 asked")."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextmanager
def phases() -> Iterator[Callable[[str, int], Advance]]:
    """A function that starts a phase of so many units and returns its `Advance`. Drawn on standard error."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:

        def start(description: str, total: int) -> Advance:
            task = progress.add_task(description, total=total, note="")

            def advance(note: str) -> None:
                progress.update(task, advance=1, note=note)

            return advance

        yield start
