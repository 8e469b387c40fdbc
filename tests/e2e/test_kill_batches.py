"""kill -9 at random instants of a run in batches: nothing is lost, and no request is run, and paid, twice.

The design lets one thing through: a batch whose id was lost in the kill is sent again where the vendor's list does not
show it within 35 s. The stand-in lists a batch at once, so here every request runs exactly once.

The suite kills a few times; KILLS=50 python -m pytest tests/e2e/test_kill_batches.py kills fifty times for each vendor.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from support.batch_jobs import reader, write_job
from support.batch_vendors import Vendor, serving_vendor
from support.forked_runs import forked_runs, recorded, run_until, whole_run

from autointerp.providers import Ledger

KILLS = int(os.environ.get("KILLS", "3"))


def states(folder: Path) -> Counter[str]:
    """Of the batches in the ledger of a job."""

    async def read() -> Counter[str]:
        async with Ledger(folder / "ledger.sqlite") as ledger:
            return Counter(row.state for row in ledger.batches.rows())

    return asyncio.run(read())


def ended_well(folder: Path, expected: bytes, vendor: Vendor) -> None:
    """The bytes of an undisturbed run, every batch collected, and every request run once at the vendor."""
    assert (folder / "run" / "scores.parquet").read_bytes() == expected
    assert set(states(folder)) == {"done"}
    assert set(vendor.ran.values()) == {1}
    assert len(vendor.ran) == len(recorded(folder))


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_kill_at_random_instants_of_a_run_in_batches(provider: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    with serving_vendor() as vendor, forked_runs() as runs:
        vendor.answer = reader
        numbers = count()

        def new_job() -> Path:
            # The jobs ask the same. In one account, a batch whose id was lost would be found in an earlier job's.
            vendor.another_account()
            return write_job(tmp_path / f"job-{next(numbers)}", provider, vendor, batch=True).parent

        reference, _ = whole_run(runs, new_job())
        expected = (reference / "run" / "scores.parquet").read_bytes()
        ended_well(reference, expected, vendor)
        timed, took_s = whole_run(runs, new_job())  # the first one was slower
        ended_well(timed, expected, vendor)

        kills, folder, known = 0, new_job(), set[str]()
        while kills < KILLS:
            killed = run_until(runs, folder, draw.uniform(0, took_s))
            now = recorded(folder)
            assert known <= now, "what was recorded is lost"
            assert set(vendor.ran.values()) <= {1}, "a request was run twice"
            kills, known = kills + killed, now
            if not killed:
                ended_well(folder, expected, vendor)
                folder, known = new_job(), set()
        whole_run(runs, folder)
        ended_well(folder, expected, vendor)
