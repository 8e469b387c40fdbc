"""A job of many units whose every call is in the ledger already: units a minute, and the memory it takes at most.

Each size is run twice in processes of their own: once against a provider that answers at once, to fill the ledger, and
once with `replay_only`. The second is measured: splitting, rendering, looking up, parsing, scoring with intervals, the
baselines, the control, and writing the run's folder with report and figures. The store is the hand-written one of the
tests, its features over and over. Ten contexts share a simulation, so a unit takes three calls.

    python -m tests.benchmarks.bench_resume 1000 100000
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from autointerp import registry
from autointerp.protocols import ChatReply, EchoReply, EchoRequest, Reply, Request, request_key
from autointerp.types import Usage
from tests.support.many_units import write_many

SIZES = (1000, 5000)
JOB = """
name = "many"
[store]
path = "store"
[units]
features = {units}
[model]
provider = "instant"
name = "m"
concurrency = 64
replay_only = {replay}
{haste}[[presets]]
name = "openai"
splits = {{ window = 16 }}
scale = "0-9"
contexts_per_prompt = 10
"""
# What fills the ledger need not be scored with care: the calls are the same.
HASTE = """[baselines]
units = "none"
[statistics]
resamples = 100
"""


class Instant:
    """Answers every question at once: an explanation that tells the question, levels that follow from the place."""

    name = "instant"

    @classmethod
    def configured(cls, model: str, settings: dict[str, Any]) -> Instant:
        return cls()

    def capabilities(self, model: str) -> Any:
        from autointerp.protocols import Capabilities

        return Capabilities(
            prompt_logprobs=True, generated_logprobs=True, json_mode=True, seed=True, single_token_ten=True
        )

    async def ask(self, request: Request) -> Reply:
        if isinstance(request, EchoRequest):
            rows = tuple(tuple(-0.3 * abs(slot % 9 - level) for level in range(10)) for slot in request.slots)
            return EchoReply(rows, "m", Usage(900, 0))
        return ChatReply(f"words like {request_key('instant', request)[:8]}", "stop", "m", Usage(900, 6))

    async def close(self) -> None: ...


def run(sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """For each size: units a minute, seconds and the peak of memory in MB of the replay; and the memory's ratio."""
    found = {str(units): _measured(units) for units in sizes}
    first, last = (found[str(units)]["peak_mb"] for units in (sizes[0], sizes[-1]))
    return {"units": found, "memory_ratio": round(last / first, 3)}


def _measured(units: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "store").mkdir()
        write_many(folder / "store", units)
        for replay, haste in (("false", HASTE), ("true", "")):
            (folder / "job.toml").write_text(JOB.format(units=units, replay=replay, haste=haste))
            command = [sys.executable, "-m", "tests.benchmarks.bench_resume", "child", str(folder)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found: dict[str, float] = json.loads(said.splitlines()[-1])
        return {"units_per_minute": round(60 * units / found["seconds"]), **found}


def _child(folder: Path) -> None:
    from autointerp.jobs import load_job, run_job

    find = registry.find
    registry.find = lambda group, name: Instant if group == "providers" else find(group, name)
    start = time.perf_counter()
    run_job(load_job(folder / "job.toml"), folder, folder / "run")
    seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    measured = {
        "seconds": round(seconds, 1),
        "processor_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024, 1),
    }
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _child(Path(sys.argv[2]))
    else:
        sys.stdout.write(json.dumps(run(tuple(map(int, sys.argv[1:])) or SIZES), indent=1) + "\n")
