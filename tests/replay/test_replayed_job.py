"""One tiny job from end to end, through the command: a unit explained and simulated by a real, small model."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from replay.conftest import PLANTED, Recorded
from scipy.stats import pearsonr
from support.stores import write_store
from support.waits import shorten_waits

from autointerp import cli
from autointerp.providers import Ledger
from autointerp.results import read_scores

pytestmark = [pytest.mark.vcr, pytest.mark.block_network]

JOB = """
name = "replayed"
[store]
path = "store"
[units]
features = [0]
[baselines]
units = "none"
[model]
provider = "{vendor}"
name = "{model}"
concurrency = 1
price = {{ input_per_million = 1.0, output_per_million = 4.0, cached_input_per_million = 0.1 }}
settings = {{ base_url = "{address}", {settings} }}
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
controls = false
minimum_share = 0.5
explainer_few_shot = 1
simulator_few_shot = 1
sample_sets = ["top_and_random"]
splits = {{ window = 7, explain = {{ top = 4 }}, calibrate = {{}}, score = {{ top = 2, random = 1 }}, test = {{}} }}
"""
SETTINGS = {
    "openai": "temperature = true, seed = true, json_mode = true, reasoning_room = 0",
    "anthropic": "temperature = true, thinking_room = 0",
}


@pytest.mark.vcr(allow_playback_repeats=False)
def test_a_job(
    vendor: str,
    recorded: Recorded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shorten_waits(monkeypatch)
    write_store(tmp_path / "store", blocks=120)
    address = f"{recorded.address}/v1" if vendor == "openai" else recorded.address
    job = JOB.format(vendor=vendor, model=recorded.model, address=address, settings=SETTINGS[vendor])
    (tmp_path / "job.toml").write_text(job)
    monkeypatch.setattr(sys, "argv", ["autointerp", "run", str(tmp_path / "job.toml"), "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    assert PLANTED not in told.out + told.err

    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    calls = manifest["calls"]
    assert calls["live"] == calls["attempts"] == 1 + 3
    usage = calls["live_usage"]
    assert usage["prompt_tokens"] > 500
    fresh = usage["prompt_tokens"] - usage["cached_prompt_tokens"]
    cost_usd = (fresh + 0.1 * usage["cached_prompt_tokens"] + 4 * usage["completion_tokens"]) / 1e6
    assert calls["cost_usd"] == pytest.approx(cost_usd)
    [model] = manifest["models"]
    assert model["provider"].startswith(vendor)  # and what is sent besides
    assert model["asked"] == recorded.model
    assert model["served"]

    # Every score is the correlation of what the model said with the truth; what it could not say has a reason.
    scores = read_scores(tmp_path / "run")
    with gzip.open(tmp_path / "run" / "units.jsonl.gz", "rt", encoding="ascii") as file:
        lines = {line["unit"]: line for line in map(json.loads, file)}
    pearson = scores[(scores.metric == "pearson")]
    assert len(pearson) == 1
    for row in pearson.itertuples():
        said = [one for one in lines[row.unit]["records"] if one["expected"] is not None]
        if row.status == "scored":
            truth, expected = (np.concatenate([one[what] for one in said]) for what in ("truth", "expected"))
            assert row.value == pytest.approx(pearsonr(truth, expected).statistic, abs=1e-6)
        else:
            assert row.reason in ("parse_failure", "truncated", "constant_prediction")
    assert "scored" in set(pearson.status)

    asyncio.run(_check_ledger(tmp_path / "ledger.sqlite", calls["live"]))


async def _check_ledger(path: Path, live: int) -> None:
    async with Ledger(path, create=False) as ledger:
        assert ledger.verify() == []
        assert (ledger.statistics().answered, ledger.statistics().failed) == (live, 0)
