"""Several processes on one ledger, and processes that are killed: one answer each, and what was acknowledged stays."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import ledger_writer
from unit.providers.conftest import Place

from autointerp.protocols import ChatReply, request_key
from autointerp.providers.ledger import Ledger


def writer(address: str, word: str, first: int, last: int, size: int = 10) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(ledger_writer.__file__)), address, word, str(first), str(last), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def start(*processes: subprocess.Popen[str], limit: str = "") -> None:
    """Lets them open their ledgers at the same time, when all have come so far."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        _go(process, limit)


def _go(process: subprocess.Popen[str], limit: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{limit}\n")
    process.stdin.flush()


def acknowledged(output: str) -> dict[str, str]:
    """The key and the first word of the reply that stands, for each whole line."""
    return dict(line.split() for line in output.split("\n")[:-1])


async def standing(address: str) -> dict[str, str]:
    """What the ledger holds, when it has been verified; one answer for each key."""
    async with Ledger(address, create=False) as ledger:
        assert ledger.verify() == []
        answers = [row["key"] for row in ledger.rows() if row["status"] == "answered"]
        assert len(answers) == len(set(answers))
        found = {}
        for key in answers:
            reply = ledger.get(key)
            assert isinstance(reply, ChatReply)
            found[key] = reply.text.split()[0]
        return found


async def test_two_processes_that_make_and_fill_one_ledger(place: Place) -> None:
    """They meet in the middle: each is told the same answer, the one that was first."""
    address = place.new()
    both = [writer(address, "one", 0, 600), writer(address, "two", 599, -1)]
    start(*both)
    outputs = [process.communicate(timeout=120) for process in both]
    assert [(process.returncode, errors) for process, (_, errors) in zip(both, outputs, strict=True)] == [(0, "")] * 2
    held = await standing(address)
    assert set(held) == {request_key("p", ledger_writer.request(number)) for number in range(600)}
    assert [acknowledged(output) for output, _ in outputs] == [held, held]
    assert set(held.values()) == {"one", "two"}


async def test_a_process_that_is_killed_while_another_goes_on(place: Place) -> None:
    address = place.new()
    killed, other = writer(address, "killed", 0, 100_000), writer(address, "other", 100_000, 100_120)
    start(killed)
    assert killed.stdout is not None
    seen = [killed.stdout.readline() for _ in range(20)]
    start(other)
    os.kill(killed.pid, signal.SIGKILL)
    rest, _ = killed.communicate(timeout=60)
    output, errors = other.communicate(timeout=120)
    assert (other.returncode, errors) == (0, "")
    held = await standing(address)
    told = acknowledged("".join(seen) + rest) | acknowledged(output)
    assert told.items() <= held.items()


@pytest.mark.parametrize("instant", range(10))
def test_kill_9_loses_nothing_that_record_returned_for(place: Place, instant: int) -> None:
    address = place.new()
    process = writer(address, "word", 0, 1_000_000, size=1000)
    start(process)
    assert process.stdout is not None
    first = process.stdout.readline()  # the ledger is made, and the first commit done
    time.sleep(random.Random(instant).uniform(0, 0.3))
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    told = acknowledged(first + rest)
    assert told
    assert told.items() <= asyncio.run(standing(address)).items()
