"""Runs of jobs that can be killed at any instant, without the seconds that starting the program takes each time.

    python forked_runs.py

A process that has imported everything forks for each job named on its standard input ("FOLDER" with a job.toml, the
run goes to FOLDER/run), prints the child's process id, and when the child has ended its exit code (-9: killed). Nothing
is drawn: pictures would be most of a run's time. Batches are sent after a short moment, and one whose id was lost is
looked for in quick succession, as the vendor's stand-in lists it at once: instants of waiting are not worth many kills.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

__all__ = ["ForkedRuns", "forked_runs", "recorded", "run_until", "whole_run"]


class ForkedRuns:
    """The process, seen from a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, folder: Path) -> int:
        """Starts the job of a folder; the process id of who runs it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        return self._number()

    def ended(self) -> int:
        """Waits for it; its exit code."""
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def whole_run(runs: ForkedRuns, folder: Path) -> tuple[Path, float]:
    """The folder, and how long the run took."""
    began = time.monotonic()
    runs.start(folder)
    assert runs.ended() == 0
    return folder, time.monotonic() - began


def run_until(runs: ForkedRuns, folder: Path, seconds: float) -> bool:
    """Runs the job and kills it after so many seconds; whether it had not ended by itself."""
    child = runs.start(folder)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    code = runs.ended()
    assert code in (0, -signal.SIGKILL)
    return code != 0


def recorded(folder: Path) -> set[str]:
    """The prompts whose replies the ledger of a job holds, each once; a killed run leaves a sound ledger."""
    from autointerp.providers import Ledger

    async def read() -> list[str]:
        async with Ledger(folder / "ledger.sqlite") as ledger:
            assert ledger.verify() == []
            rows = [row for row in ledger.rows() if row["status"] == "answered"]
            return [json.loads(row["request"])["messages"][-1]["content"] for row in rows]

    prompts = asyncio.run(read())
    assert len(set(prompts)) == len(prompts)
    return set(prompts)


@contextmanager
def forked_runs() -> Iterator[ForkedRuns]:
    # One thread: what is forked holds no other's locks.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        try:
            yield ForkedRuns(process)
        finally:
            process.stdin.close()


def _serve() -> None:
    import anthropic  # noqa: F401  imported by the providers only when they first ask
    import openai  # noqa: F401

    from autointerp.jobs import load_job, models, run_job
    from autointerp.providers.batch import queue
    from autointerp.results import writer

    queue._LOOKS_S = (0.0, 0.02, 0.05)
    models.BatchSettings = partial(queue.BatchSettings, quiet_s=0.05)  # type: ignore[assignment,misc]
    writer.write_figures = writer.write_report = lambda *_: None  # type: ignore[assignment]
    for line in sys.stdin:
        folder = Path(line.strip())
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            run_job(load_job(folder / "job.toml"), folder, folder / "run")
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
