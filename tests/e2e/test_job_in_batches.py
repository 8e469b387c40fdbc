"""A job by a vendor's batch API: the same scores as by live calls, and Ctrl-C that leaves the batch where it is."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from support.batch_jobs import reader, write_job
from support.batch_vendors import Fault, Vendor, serving_vendor

from autointerp.errors import BadJob
from autointerp.jobs import load_job, run_job
from autointerp.providers import Ledger


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serving_vendor() as running:
        running.answer = reader
        yield running


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(path: Path) -> bytes:
    run_job(load_job(path), path.parent, path.parent / "run")
    return (path.parent / "run" / "scores.parquet").read_bytes()


def test_a_job_in_batches_gives_the_bytes_of_live_calls(provider: str, vendor: Vendor, tmp_path: Path) -> None:
    live = run(write_job(tmp_path / "live", provider, vendor, batch=False))
    calls = len(vendor.live)
    vendor.fate = lambda key, tries: "expired" if tries == 0 and int(key, 16) % 7 == 0 else ""
    assert run(write_job(tmp_path / "batched", provider, vendor, batch=True)) == live
    assert len(vendor.live) == calls
    assert vendor.ran.total() == calls == len(vendor.ran)
    assert 3 <= len(vendor.batches) < calls / 2
    scores = pd.read_parquet(tmp_path / "live" / "run" / "scores.parquet")
    assert (scores["status"] == "scored").any()
    asked = json.loads((tmp_path / "batched" / "run" / "manifest.json").read_text())
    assert f'"live": {calls}' in json.dumps(asked)


def test_ctrl_c_leaves_the_batch_and_the_same_command_collects_it(vendor: Vendor, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", "openai", vendor, batch=True)
    vendor.polls = 10**9
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # or the program would ignore it, where we do
    process = subprocess.Popen(
        [sys.executable, "-m", "autointerp.cli", "run", str(job), "--out", str(tmp_path / "job" / "run")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    signal.signal(signal.SIGINT, before)
    with process:
        try:
            while not vendor.batches or len([one for one in vendor.asked if one.startswith("GET")]) < 2:
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert f"{len(vendor.batches[0].requests)} requests wait in batches, which go on" in said
    assert "Traceback" not in said
    vendor.polls = vendor.batches[0].polls = 1
    first = set(vendor.batches[0].requests)
    run(job)
    assert not [batch for batch in vendor.batches[1:] if first & set(batch.requests)]
    assert set(vendor.ran.values()) == {1}

    async def rows() -> list[str]:
        async with Ledger(tmp_path / "job" / "ledger.sqlite") as ledger:
            return [row.state for row in ledger.batches.rows()]

    assert set(asyncio.run(rows())) == {"done"}


def program(*words: str) -> subprocess.CompletedProcess[str]:
    """A command of the program, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "autointerp.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_batch_that_is_gone_stops_the_job_with_the_command_that_forgets_it(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("write_figures", "write_report"):
        monkeypatch.setattr(f"autointerp.results.writer.{name}", lambda *_: None)
    live = run(write_job(tmp_path / "live", "openai", vendor, batch=False))
    job = write_job(tmp_path / "job with spaces", "openai", vendor, batch=True)
    vendor.faults = [Fault("GET /v1/batches/", times=10**6, status=404, body={"error": {"message": "no such batch"}})]
    stopped = program("run", str(job))
    said = [line for line in stopped.stderr.splitlines() if line.startswith("autointerp: ")]
    assert (stopped.returncode, len(said)) == (3, 1), stopped.stderr
    assert "Traceback" not in stopped.stderr
    _, command, arguments = said[0].rpartition(": autointerp ")
    assert command
    words = shlex.split(arguments)
    lost, vendor.faults = vendor.batches[0], []
    assert words[-1] == lost.id
    told = program(*words)
    assert (told.returncode, told.stderr) == (0, "")
    assert f"its {len(lost.requests)} requests that have no answer would be asked, and paid, again" in told.stdout
    assert program(*words, "--yes").returncode == 0
    lost.id = "never found again"
    assert run(job) == live
    assert set(lost.requests) == {key for batch in vendor.batches[1:] for key in batch.requests if key in lost.requests}
    listed = json.loads(program("ledger", "batches", str(job.parent / "ledger.sqlite"), "--json").stdout)
    assert {one["state"] for one in listed["batches"][1:]} == {"done"}
    assert (listed["batches"][0]["state"], listed["batches"][0]["requests"]) == ("forgotten", len(lost.requests))


def test_a_provider_without_batches_is_refused(vendor: Vendor, tmp_path: Path) -> None:
    path = write_job(tmp_path / "job", "openai", vendor, batch=True)
    path.write_text(path.read_text().replace('"openai"\nname = "m"', '"openai_compatible"\nname = "m"'))
    with pytest.raises(BadJob, match="openai_compatible takes no batches; openai and anthropic do"):
        run(path)
