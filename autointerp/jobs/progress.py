"""What a person sees while a job runs: phase, count, rate, time left, what was asked of a model, and pauses.

On a terminal these are bars; where standard error is a file or a pipe they are plain lines, now and then.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["Advance", "Lines", "Start", "phases"]

_EVERY_S = 30.0

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
    """What starts the phases of a job. Drawn, or written, on standard error."""
    console = Console(file=sys.stderr)
    with _bars(console) if console.is_terminal else _lines() as start:
        yield start


@contextmanager
def _bars(console: Console) -> Iterator[Start]:
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


@contextmanager
def _lines() -> Iterator[Start]:
    """Lines also while nothing advances: that is when a person wonders."""
    lines, ended = Lines(), threading.Event()

    def remind() -> None:
        while not ended.wait(_EVERY_S):
            lines.remind()

    reminding = threading.Thread(target=remind, name="progress", daemon=True)
    reminding.start()
    try:
        yield lines.start
    finally:
        ended.set()
        reminding.join()
        lines.close()


@dataclass(slots=True)
class _Phase:
    """reported_s, reported: when its last line was written, and what was done then."""

    description: str
    total: int
    state: Callable[[], str]
    begun_s: float
    reported_s: float
    reported: int = 0
    done: int = 0
    note: str = ""


@dataclass(slots=True)
class Lines:
    """Phases as plain lines: one at the end of each phase, and before it at most one in `every_s`.

    write: takes a line; standard error by default. clock: seconds.
    """

    write: Callable[[str], object] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: T201
    clock: Callable[[], float] = time.monotonic
    every_s: float = _EVERY_S
    _open: list[_Phase] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, description: str, total: int, state: Callable[[], str] = str) -> Advance:
        """See `Start`."""
        now = self.clock()
        phase = _Phase(description, total, state, now, now)
        with self._lock:
            self._open.append(phase)

        def advance(note: str) -> None:
            with self._lock:
                phase.done, phase.note = phase.done + 1, note
                if phase.done == phase.total:
                    self._open.remove(phase)
                    self.write(self._ended(phase))
                else:
                    self._report(phase)

        return advance

    def remind(self) -> None:
        """Writes the line of each phase that is due."""
        with self._lock:
            for phase in self._open:
                self._report(phase)

    def close(self) -> None:
        """Says how far the phases came that did not end, if they began."""
        with self._lock:
            for phase in self._open:
                if phase.done > phase.reported:
                    self.write(_joined(phase, f"{phase.done} of {phase.total}"))
            self._open.clear()

    def _report(self, phase: _Phase) -> None:
        now = self.clock()
        if now - phase.reported_s < self.every_s:
            return
        rate = (phase.done - phase.reported) / (now - phase.reported_s)  # what a ledger answered at first is long past
        left = f"about {_span((phase.total - phase.done) / rate)} left" if rate else ""
        self.write(_joined(phase, f"{phase.done} of {phase.total}", f"{_rate(rate)}", left, phase.state()))
        phase.reported_s, phase.reported = now, phase.done

    def _ended(self, phase: _Phase) -> str:
        took = self.clock() - phase.begun_s
        rate = _rate(phase.done / took) if took > 0 else ""
        return _joined(phase, f"{phase.done} of {phase.total} in {_span(took)}", rate)


def _joined(phase: _Phase, *parts: str) -> str:
    return f"{phase.description}: {', '.join(filter(None, (*parts, phase.note)))}"


def _rate(per_s: float) -> str:
    return f"{per_s:.1f}/s" if per_s >= 1 or not per_s else f"{60 * per_s:.1f}/min"


def _span(seconds: float) -> str:
    """ "50 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
