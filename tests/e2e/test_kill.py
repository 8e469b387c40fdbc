"""kill -9 at random instants of a run: what was recorded is kept and not asked again, and the scores are the same.

The suite kills a few times; KILLS=50 python -m pytest tests/e2e/test_kill.py kills fifty times.
"""

from __future__ import annotations

import os
import random
import time
from itertools import count
from pathlib import Path

import pytest
from support.fault_server import FaultServer, serving_faults
from support.forked_runs import forked_runs, recorded, run_until, whole_run
from support.stores import write_store

KILLS = int(os.environ.get("KILLS", "6"))
CONCURRENCY = 8
JOB = """
name = "killed"
[store]
path = "../store"
[units]
features = [0, 1]
neurons = [0]
[baselines]
units = "none"
[model]
provider = "openai_compatible"
name = "m"
concurrency = {concurrency}
settings = {{ base_url = "{url}/v1", key_variable = "" }}
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
"""


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    write_store(tmp_path / "store", blocks=120)
    return tmp_path


def new_job(folders: Path, server: FaultServer, number: int) -> Path:
    """A folder with a job and a ledger of its own."""
    folder = folders / f"job-{number}"
    folder.mkdir()
    (folder / "job.toml").write_text(JOB.format(url=server.url, concurrency=CONCURRENCY))
    return folder


def test_kill_at_random_instants(folders: Path) -> None:
    draw = random.Random(0)
    with serving_faults(delay_s=0.02) as server, forked_runs() as runs:
        numbers = count()
        reference, _ = whole_run(runs, new_job(folders, server, next(numbers)))
        expected = (reference / "run" / "scores.parquet").read_bytes()
        distinct = {one.prompt for one in server.seen}
        assert len(distinct) == len(server.seen) == len(recorded(reference)) > 40
        _, took_s = whole_run(runs, new_job(folders, server, next(numbers)))  # the first one was slower

        kills, folder, known = 0, new_job(folders, server, next(numbers)), set[str]()
        while kills < KILLS:
            before = len(server.seen)
            killed = run_until(runs, folder, draw.uniform(0, took_s))
            time.sleep(0.03)  # for the server to see what was sent
            asked = [one.prompt for one in server.seen[before:]]
            now = recorded(folder)
            assert known <= now, "what was recorded is lost"
            assert not known & set(asked), "what was recorded was asked again"
            assert len(asked) == len(set(asked))
            assert len(set(asked) - now) <= 3 * CONCURRENCY  # open, or answered and not yet on the disk
            kills, known = kills + killed, now
            if not killed:
                assert (folder / "run" / "scores.parquet").read_bytes() == expected
                folder, known = new_job(folders, server, next(numbers)), set()
        whole_run(runs, folder)
        assert (folder / "run" / "scores.parquet").read_bytes() == expected
        assert recorded(folder) == distinct
