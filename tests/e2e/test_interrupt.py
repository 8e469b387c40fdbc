"""Ctrl-C: what was asked is answered and recorded, nothing more is asked, and the same command goes on from there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.stores import write_store

from autointerp.jobs import load_job
from autointerp.providers import Ledger, LedgerStatistics
from tests.unit.providers.loopback_server import Answer, Server, serving

JOB = """
name = "interrupted"
[store]
path = "store"
[units]
features = [0, 1, 3, 4, 5]
neurons = [0, 1, 2]
[baselines]
units = "none"
[model]
provider = "openai_compatible"
name = "m"
concurrency = 2
settings = {{ base_url = "{url}", key_variable = "", timeout_s = 600 }}
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
"""
Start = Callable[[], subprocess.Popen[str]]
PATIENCE_S = 240  # of a busy machine


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """A test run that was started in the background ignores Ctrl-C, and so would the programs it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def job(tmp_path: Path, server: Server) -> Path:
    write_store(tmp_path / "store")
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(url=server.url))
    return path


def answer(delay_s: float, text: str = "words about animals") -> Answer:
    """A reply that explains, and that no simulator can read: that its units end Unscored does not matter here."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Answer(
        {"model": "m-1", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}, delay_s=delay_s
    )


@pytest.fixture
def start(job: Path) -> Iterator[Start]:
    """Starts the job; whatever a test does, nothing runs on after it."""
    command = [sys.executable, "-m", "autointerp.cli", "run", str(job), "--out", str(job.parent / "run")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with ExitStack() as running:

        def started() -> subprocess.Popen[str]:
            program = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
            )
            running.enter_context(program)
            running.callback(program.kill)
            return program

        yield started


def wait_until(condition: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    for _ in range(PATIENCE_S * 20):
        if condition():
            return
        assert running.poll() is None, running.stderr and running.stderr.read()
        time.sleep(0.05)
    raise AssertionError("nothing was asked")


def ended(running: subprocess.Popen[str]) -> tuple[int, str]:
    _, complaint = running.communicate(timeout=PATIENCE_S)
    return running.returncode, complaint


def statistics(job: Path) -> LedgerStatistics:
    async def read() -> LedgerStatistics:
        async with Ledger(job.parent / load_job(job).ledger.path) as ledger:
            assert ledger.verify() == []
            return ledger.statistics()

    return asyncio.run(read())


def keys(server: Server) -> list[Any]:
    return [body["messages"] for _, _, body in server.asked]


def test_ctrl_c_records_what_is_open_and_the_same_command_goes_on(job: Path, server: Server, start: Start) -> None:
    server.answers = [answer(0.0), answer(3.0)]
    running = start()
    wait_until(lambda: len(server.asked) >= 3, running)
    running.send_signal(signal.SIGINT)
    code, complaint = ended(running)
    asked = keys(server)
    assert code == 130, complaint
    assert "open calls first; Ctrl-C again leaves at once" in complaint
    assert "Traceback" not in complaint
    assert complaint.endswith("autointerp: interrupted; the same command goes on from what the ledger holds\n")
    known = statistics(job)
    assert (known.answered, known.failed) == (len(asked), 0)
    assert not (job.parent / "run" / "scores.parquet").exists()

    server.answers = [answer(0.0)]
    code, complaint = ended(start())
    assert code == 0, complaint
    again = keys(server)[len(asked) :]
    assert again
    assert not [messages for messages in again if messages in asked]
    assert statistics(job).answered == len(server.asked)


def test_ctrl_c_does_not_wait_for_a_pause(job: Path, server: Server, start: Start) -> None:
    server.answers = [Answer({"error": {"message": "slow"}}, 429, {"retry-after": "600"})]
    running = start()
    wait_until(lambda: len(server.asked) >= 1, running)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    code, complaint = ended(running)
    assert code == 130, complaint
    assert len(server.asked) <= 2


def test_a_second_ctrl_c_leaves_at_once(job: Path, server: Server, start: Start) -> None:
    server.answers = [answer(120.0)]
    running = start()
    wait_until(lambda: len(server.asked) >= 2, running)
    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    assert any("Ctrl-C again" in line for line in running.stderr)
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    code, _ = ended(running)
    assert code == 130
    assert time.monotonic() - began < 60  # of the 120 s that the calls would take
    assert statistics(job).answered == 0
