"""Several processes on one ledger, and processes that are killed: one answer each, and what was acknowledged stays."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

import pytest
from support import ledger_writer
from support.ledgers import Place, acknowledged, standing, start, writer

from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger


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
    assert set(held.values()) <= {"one", "two"}  # on a busy machine one of them may do all the work
    async with Ledger(address) as ledger:
        [model] = ledger.statistics().models
    assert (model.answered, model.repeated) == (600, 600)  # each process paid for every one
    assert model.cost_usd == 1200 * ledger_writer.COST_USD


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
