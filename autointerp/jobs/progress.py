"""What a person sees while a job runs: phase, count, rate, time left, what was asked of a model, and pauses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["Advance", "Start", "phases"]

Advance = Callable[[str], None]
"""Says that one more unit is done; the text is shown beside the bar ("12 replayed, 3 asked")."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class _Note(ProgressColumn):
    """What the last `Advance` said, and what the phase's state is now: it is asked each time the line is drawn."""

    def render(self, task: Task) -> Text:
        return Text(", ".join(filter(None, (task.fields["note"], task.fields["state"]()))))


class Start(Protocol):
    """Starts a phase of so many units. state: a word on what holds it up just now, "" where nothing does."""

    def __call__(self, description: str, total: int, state: Callable[[], str] = str) -> Advance: ...


@contextmanager
def phases() -> Iterator[Start]:
    """What starts the phases of a job. Drawn on standard error."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        _Note(),
    )
    with Progress(*columns, console=console) as progress:

        def start(description: str, total: int, state: Callable[[], str] = str) -> Advance:
            task = progress.add_task(description, total=total, note="", state=state)

            def advance(note: str) -> None:
                progress.update(task, advance=1, note=note)

            return advance

        yield start
