"""A time of day that jumps, and a disk that fills up, during a whole run."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import cycle
from pathlib import Path

import pytest
from support.fault_server import PASSING, Fault, FaultServer, serving_faults
from support.stores import write_store
from support.waits import shorten_waits

from autointerp.jobs import load_job, run_job
from autointerp.providers import Ledger, model

JOB = """
name = "clock"
[store]
path = "store"
[units]
features = [0, 1]
[baselines]
units = "none"
[model]
provider = "openai_compatible"
name = "m"
requests_per_minute = 100000
tokens_per_minute = 100000000
settings = {{ base_url = "{url}/v1", key_variable = "" }}
[ledger]
path = "{ledger}"
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
controls = false
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_store(tmp_path / "store", blocks=120)
    shorten_waits(monkeypatch)
    for name in ("write_figures", "write_report"):
        monkeypatch.setattr(f"autointerp.results.writer.{name}", lambda *_: None)
    return tmp_path


def run(folder: Path, server: FaultServer, name: str) -> bytes:
    job = folder / "job.toml"
    job.write_text(JOB.format(url=server.url, ledger=f"{name}.sqlite"))
    return (run_job(load_job(job), folder, folder / name) / "scores.parquet").read_bytes()


def test_a_time_of_day_that_jumps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hours, to and fro, from call to call: no wait depends on it, and the ledger keeps its calls apart."""
    with serving_faults() as server:
        expected = run(folder, server, "steady")
    jumps = cycle([timedelta(0), timedelta(hours=5), timedelta(hours=-7), timedelta(days=-400), timedelta(days=30)])

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + next(jumps)

    monkeypatch.setattr(model, "datetime", Jumping)
    monkeypatch.setattr("time.time", lambda: datetime.now(UTC).timestamp() + next(jumps).total_seconds())
    faults = [one for one in PASSING if one not in (Fault.TIMEOUT, Fault.TRICKLE)]
    with serving_faults(passing=faults) as server:
        assert run(folder, server, "jumping") == expected
        asked = len(server.seen)
        assert run(folder, server, "jumping") == expected
        assert len(server.seen) == asked

    async def check() -> None:
        async with Ledger(folder / "jumping.sqlite") as ledger:
            assert ledger.verify() == []
            statistics = ledger.statistics()
            assert statistics.answered == sum(one.fault is None for one in server.seen) == 22
            assert statistics.failed == sum(one.fault is not None for one in server.seen) > 3
            times = sorted(row["asked_at"] for row in ledger.rows())
            span = datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])
            assert span > timedelta(days=400)  # the clock did jump

    asyncio.run(check())


def test_a_disk_that_fills_up_stops_the_run_in_one_line_and_it_goes_on(folder: Path) -> None:
    """A limit of the process on the size of its files stands for the disk."""
    with serving_faults() as server:
        expected = run(folder, server, "whole")
        asked = len(server.seen)
        (folder / "job.toml").write_text(JOB.format(url=server.url, ledger="limited.sqlite"))
        command = [sys.executable, "-m", "autointerp.cli", "run", str(folder / "job.toml"), "--out"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        most = 200_000
        stopped = subprocess.run(
            [*command, str(folder / "limited")],
            env=environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
            capture_output=True,
            text=True,
            check=False,
        )
        said = [line for line in stopped.stderr.splitlines() if line.startswith("autointerp: ")]
        assert stopped.returncode == 2, stopped.stderr
        assert len(said) == 1
        assert "is the disk full or gone?" in said[0] or "the disk is full" in said[0]
        assert "Traceback" not in stopped.stderr
        assert not (folder / "limited" / "scores.parquet").exists()
        before = server.seen[asked:]
        assert before

        known = asyncio.run(_prompts(folder / "limited.sqlite"))
        assert known
        assert run(folder, server, "limited") == expected
        again = [one.prompt for one in server.seen[asked + len(before) :]]
        assert not known & set(again)


async def _prompts(path: Path) -> set[str]:
    async with Ledger(path) as ledger:
        assert ledger.verify() == []
        return {_last(row["request"]) for row in ledger.rows() if row["status"] == "answered"}


def _last(request: str) -> str:
    return str(json.loads(request)["messages"][-1]["content"])
