"""A ledger that is locked or corrupt, at the start and in the middle of a whole run, which is a process of its own.

Each ends in one line and exit code 2. After the mend the same command goes on: nothing that was recorded is asked
again, and the scores have the bytes of a run without the fault.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.fault_server import FaultServer, serving_faults
from support.stores import write_store

from autointerp.jobs import load_job, run_job
from autointerp.providers import Ledger, export_jsonl, import_jsonl

CONCURRENCY = 2
KNOWN = 8  # calls that are recorded before a fault
JOB = """
name = "faulty"
[store]
path = "{store}"
[units]
features = [0, 1, 3]
neurons = [0, 1]
[baselines]
units = "none"
[model]
provider = "openai_compatible"
name = "m"
concurrency = {concurrency}
settings = {{ base_url = "{url}/v1", key_variable = "" }}
[ledger]
wait_s = 0.3
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
controls = false
"""


@dataclass(frozen=True)
class Sound:
    """A run without faults: its scores, its server, an export of its first calls, and how many there are in all."""

    scores: bytes
    server: FaultServer
    store: Path
    export: Path
    calls: int


@pytest.fixture(scope="module", autouse=True)
def nothing_drawn() -> Iterator[None]:
    """In this process: the pictures are not what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write_figures", "write_report"):
            patch.setattr(f"autointerp.results.writer.{name}", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, nothing_drawn: None) -> Iterator[Sound]:
    folder = tmp_path_factory.mktemp("sound")
    write_store(folder / "store", blocks=120)
    with serving_faults(delay_s=0.02) as server:
        job = write_job(folder, server, folder / "store")
        scores = (run_job(load_job(job), folder, folder / "run") / "scores.parquet").read_bytes()
        with_ledger(folder / "ledger.sqlite", lambda ledger: export_jsonl(ledger, folder / "whole.jsonl"))
        lines = (folder / "whole.jsonl").read_text().splitlines(keepends=True)
        (folder / "first.jsonl").write_text("".join(lines[: 1 + KNOWN]))
        yield Sound(scores, server, folder / "store", folder / "first.jsonl", len(lines) - 1)


def with_ledger(path: Path, work: Callable[[Ledger], Any]) -> Any:
    async def opened() -> Any:
        async with Ledger(path) as ledger:
            return work(ledger)

    return asyncio.run(opened())


def write_job(folder: Path, server: FaultServer, store: Path) -> Path:
    path = folder / "job.toml"
    path.write_text(JOB.format(url=server.url, store=store, concurrency=CONCURRENCY))
    return path


class Interrupted:
    """A job of which the first calls are in its ledger, and its runs."""

    def __init__(self, folder: Path, sound: Sound) -> None:
        self.ledger, self._sound = folder / "ledger.sqlite", sound
        self._job, self._folder = write_job(folder, sound.server, sound.store), folder / "runs" / "faulty"
        self.restore()

    def restore(self) -> None:
        """The mend of a ledger that is corrupt: a new one, and the export imported."""
        for path in self.ledger.parent.glob("ledger.sqlite*"):
            path.unlink()
        assert with_ledger(self.ledger, lambda ledger: import_jsonl(ledger, self._sound.export)) == KNOWN

    def asked(self, since: int) -> list[str]:
        return [one.prompt for one in self._sound.server.seen[since:]]

    def recorded(self) -> set[str]:
        """The prompts that have an answer, whatever else is wrong with the ledger or who holds it."""
        with closing(sqlite3.connect(self.ledger)) as connection:
            found = connection.execute("SELECT request FROM calls WHERE status = 'answered'").fetchall()
        return {json.loads(request)["messages"][-1]["content"] for [request] in found}

    def stopped(self, meanwhile: Callable[[], None] = lambda: None) -> str:
        """The one line in which a run ends; `meanwhile` is called while it runs."""
        with subprocess.Popen(
            [sys.executable, "-m", "autointerp.cli", "run", str(self._job)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:
            try:
                meanwhile()
                out, errors = process.communicate(timeout=60)
            finally:
                process.kill()
        said = [line for line in errors.splitlines() if line.startswith("autointerp: ")]
        assert (process.returncode, out, len(said)) == (2, "", 1), errors
        assert "Traceback" not in errors
        assert str(self.ledger) in said[0]
        assert not (self._folder / "scores.parquet").exists()
        return said[0]

    def ends_the_same(self, known: set[str]) -> None:
        """The same command goes on, asks nothing that is known, and ends as the sound run did."""
        since = len(self._sound.server.seen)
        run_job(load_job(self._job), self._job.parent, self._folder)
        assert (self._folder / "scores.parquet").read_bytes() == self._sound.scores
        assert "wait_s = 0.3" in (self._folder / "job.toml").read_text()
        asked = self.asked(since)
        assert len(asked) == len(set(asked)) == self._sound.calls - len(known)
        assert not known & set(asked)
        assert with_ledger(self.ledger, lambda ledger: ledger.verify()) == []

    def some_more_recorded(self) -> None:
        """Waits until a run that is under way has recorded more than was known."""
        deadline = time.monotonic() + 60
        while len(self.recorded()) < KNOWN + 3:
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.fixture
def job(tmp_path: Path, sound: Sound) -> Interrupted:
    return Interrupted(tmp_path, sound)


@contextmanager
def held(ledger: Path, *, by_all: bool = False) -> Iterator[None]:
    """By this process, for writing; by_all: for reading as well."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        if by_all:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM calls WHERE id < 0")
        yield


@pytest.mark.parametrize("by_all", [False, True], ids=["for writing", "for reading"])
def test_locked_at_the_start_nothing_is_asked(job: Interrupted, sound: Sound, by_all: bool) -> None:
    known, since = job.recorded(), len(sound.server.seen)
    assert len(known) == KNOWN
    with held(job.ledger, by_all=by_all):
        assert "is locked by another process: wait for it to end" in job.stopped()
    assert job.asked(since) == []  # an answer would have been paid, and lost
    job.ends_the_same(known)


def test_locked_in_the_middle_for_longer_than_the_wait(job: Interrupted, sound: Sound) -> None:
    since = len(sound.server.seen)
    lock = held(job.ledger)

    def meanwhile() -> None:
        job.some_more_recorded()
        lock.__enter__()

    said = job.stopped(meanwhile)
    lock.__exit__(None, None, None)
    assert "is locked by another process: wait for it to end" in said
    known = job.recorded()
    asked = job.asked(since)
    assert KNOWN < len(known) < sound.calls
    assert len(asked) == len(set(asked))
    assert (
        len(set(asked) - known) <= 3 * CONCURRENCY
    )  # those that were open, and the answers that waited to be recorded
    job.ends_the_same(known)


def text_in_its_place(ledger: Path) -> None:
    ledger.write_text("dear diary, today I ran a job\n" * 1000)


def truncated(ledger: Path) -> None:
    os.truncate(ledger, ledger.stat().st_size // 2)


def damaged(ledger: Path) -> None:
    """All but the first page, which says what is where."""
    content = ledger.read_bytes()
    ledger.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def damaged_at_one_place(ledger: Path) -> None:
    """The page by which answers are found."""
    with closing(sqlite3.connect(ledger)) as connection:
        [[page]] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'one_answer'").fetchall()
    with ledger.open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xa5" * 4096)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (text_in_its_place, "is not a ledger: name another file, or import an export into a new one"),
        (truncated, "is corrupt: restore a copy, or import an export into a new file"),
        (damaged, "is corrupt: restore a copy, or import an export into a new file"),
        (damaged_at_one_place, "is corrupt: restore a copy, or import an export into a new file"),
    ],
)
def test_corrupt_at_the_start_nothing_is_asked(
    job: Interrupted, sound: Sound, damage: Callable[[Path], None], complaint: str
) -> None:
    known, since = job.recorded(), len(sound.server.seen)
    damage(job.ledger)
    content = job.ledger.read_bytes()
    assert complaint in job.stopped()
    assert job.asked(since) == []
    assert job.ledger.read_bytes() == content  # whoever can repair it finds it as it was
    job.restore()
    job.ends_the_same(known)


def spoil(ledger: Path) -> None:
    """What a broken disk does under a running process: pages change in the file, and in the log that goes before it.

    The log's own page numbers and checks stay; they are read again only by who opens it next.
    """
    with ledger.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (ledger.stat().st_size - 4096))
    log = ledger.with_name(f"{ledger.name}-wal")
    with log.open("r+b") as file:
        for start in range(32, log.stat().st_size, 24 + 4096):
            file.seek(start)
            if int.from_bytes(file.read(4), "big") != 1:
                file.seek(start + 24)
                file.write(b"\xa5" * 4096)


def test_found_corrupt_in_the_middle(job: Interrupted, sound: Sound) -> None:
    known, since = job.recorded(), len(sound.server.seen)

    def meanwhile() -> None:
        job.some_more_recorded()
        spoil(job.ledger)

    assert "is corrupt: restore a copy, or import an export into a new file" in job.stopped(meanwhile)
    asked = job.asked(since)
    assert 3 <= len(asked) < sound.calls - KNOWN
    assert not known & set(asked)
    job.restore()
    assert job.recorded() == known
    job.ends_the_same(known)
