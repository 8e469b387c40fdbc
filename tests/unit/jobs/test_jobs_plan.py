"""A plan against a run of the same job: what is asked, for whom, and what a sample of units says of all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.stores import write_store

from autointerp import registry
from autointerp.jobs import Job, load_job, plan_job, plan_text, run_job
from autointerp.jobs.plan import planned, planning
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, Reply, Request
from autointerp.providers import Ledger, ScriptedProvider, export_jsonl
from autointerp.types import Usage

JOB = """
name = "planned"
seed = 5
[store]
path = "store"
control = "control"
[units]
features = {features}
neurons = [0, 1]
control_features = [0, 1]
[baselines]
units = "none"
[model]
provider = "scripted"
name = "reader"
price = {{ input_per_million = 10.0, output_per_million = 20.0, batch_factor = 0.5 }}
[statistics]
resamples = 100
[[presets]]
name = "openai"
"""


class Reader(ScriptedProvider):
    """Explains every unit otherwise, and gives log-probabilities of a prompt. Counts a token for three characters."""

    asked_of_all: list[Request] = []  # noqa: RUF012

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> Reader:
        return cls(cls.answer)

    @classmethod
    def answer(cls, request: Request) -> Reply:
        cls.asked_of_all.append(request)
        size = sum(len(message.content) for message in request.messages) // 3
        if isinstance(request, ChatRequest):
            return ChatReply(f"words number {hash(request)}", "stop", "reader-1", Usage(size, 12))
        levels = range(len(request.candidates))
        rows = tuple(tuple(-0.1 * (1 + (place + level) % 10) for level in levels) for place in request.slots)
        return EchoReply(rows, "reader-1", Usage(size))


class Fresh(Reader):
    """What each test puts behind the provider's name."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    write_store(folder / "store", blocks=120)
    write_store(folder / "control", blocks=120, control="shuffled_weights")
    return folder


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What the reader is asked."""
    found = registry.find
    monkeypatch.setattr(Fresh, "asked_of_all", [])
    monkeypatch.setattr("autointerp.jobs.run.RunWriter.finish", lambda self, run: {})  # nobody looks at results here
    monkeypatch.setattr(registry, "find", lambda group, name: Fresh if group == "providers" else found(group, name))
    return Fresh.asked_of_all


def job_of(stores: Path, tmp_path: Path, text: str = JOB, features: str = "[0, 1, 2, 3]") -> Job:
    for name in ("store", "control"):
        (tmp_path / name).symlink_to(stores / name)
    (tmp_path / "job.toml").write_text(text.format(features=features))
    return load_job(tmp_path / "job.toml")


def test_the_calls_of_a_plan_are_those_of_the_run(stores: Path, tmp_path: Path, asked: list[Request]) -> None:
    """With controls: another unit's explanation is as well simulated on each unit, and a silent unit on none."""
    job = job_of(stores, tmp_path, JOB.replace("[0, 1]\n[base", "[0]\n[base"))
    plan = plan_job(job, tmp_path)
    assert asked == []
    run_job(job, tmp_path, tmp_path / "run")
    total = plan["total"]
    assert (total["calls"], total["to_ask"], total["known"]) == (len(asked), len(asked), 0)
    explained = sum(isinstance(request, ChatRequest) for request in asked)
    assert explained == 3 + 2 + 1  # feature 2 is silent
    groups = {(group["units"]): group for group in plan["groups"]}
    assert list(groups) == ["features", "neurons", "control features"]
    assert sum(group["calls"] for group in groups.values()) == len(asked)
    assert "in all" in plan_text(plan)

    # Of half of the calls there is a recording.
    export, half = tmp_path / "whole.jsonl", len(asked) // 2
    asyncio.run(_export(tmp_path / "ledger.sqlite", export))
    (tmp_path / "part.jsonl").write_text("\n".join(export.read_text().splitlines()[: 1 + half]) + "\n")
    rest = plan_job(load_job(_with_import(tmp_path)), tmp_path)["total"]
    assert rest["calls"] == len(asked)
    # A unit whose explanation is not known is planned with a stand-in, so what is known of its simulations is not seen.
    assert 0 < rest["known"] <= half
    assert not (tmp_path / "other.sqlite").exists()


def _with_import(folder: Path) -> Path:
    job = folder / "job.toml"
    job.write_text(job.read_text() + '\n[ledger]\npath = "other.sqlite"\nimports = ["part.jsonl"]\n')
    return job


async def _export(path: Path, to: Path) -> None:
    async with Ledger(path, create=False) as ledger:
        export_jsonl(ledger, to)


def test_a_whole_ledger_is_planned_exactly_and_left_as_it_is(
    stores: Path, tmp_path: Path, asked: list[Request]
) -> None:
    job = job_of(stores, tmp_path, features="[0, 1]")
    run_job(job, tmp_path, tmp_path / "run")
    n = len(asked)
    ledger = (tmp_path / "ledger.sqlite").read_bytes()
    total = plan_job(job, tmp_path)["total"]
    assert (total["calls"], total["known"], total["to_ask"]) == (n, n, 0)
    assert (total["cost_usd"], total["batch_usd"], total["most_usd"]) == (0.0, 0.0, 0.0)
    assert total["known_usage"]["completion_tokens"] == 12 * sum(isinstance(one, ChatRequest) for one in asked)
    assert (tmp_path / "ledger.sqlite").read_bytes() == ledger
    assert len(asked) == n

    # The same units under another seed of the run: other contexts, so other calls; their tokens are estimated by those
    # that the ledger holds, which this reader counts by characters.
    other = job.model_copy(update={"seed": 6})
    plan = plan_job(other, tmp_path)
    assert plan["models"][0]["calibrated_on"] > 0
    run_job(other, tmp_path, tmp_path / "other")
    real = sum(sum(len(message.content) for message in one.messages) // 3 for one in asked[n:])
    assert plan["total"]["prompt_tokens"] == pytest.approx(real, rel=0.03)


def test_what_may_not_be_asked_is_missing_and_costs_nothing(stores: Path, tmp_path: Path) -> None:
    text = JOB.replace('name = "reader"', 'name = "reader"\nreplay_only = true')
    total = plan_job(job_of(stores, tmp_path, text), tmp_path)["total"]
    assert (total["to_ask"], total["known"], total["cost_usd"]) == (0, 0, 0.0)
    assert total["missing"] == total["calls"] == 3 + 2 + 2  # no explanation, so nothing to simulate


def test_large_groups_are_planned_by_a_sample_with_an_interval(stores: Path, tmp_path: Path) -> None:
    """The sample of 3 of 4 features (one of them silent) and 2 of 2 neurons, against the plan of all of them."""
    job = job_of(stores, tmp_path, features="[0, 1, 2, 3]")

    async def both() -> tuple[Any, Any]:
        from autointerp.jobs.plan_numbers import plan_document

        documents = []
        for most in (3, 200):
            async with planning(job, tmp_path) as (tasks, models):
                documents.append(plan_document(job, await planned(tasks, models, most), models))
        return documents[0], documents[1]

    sample, whole = asyncio.run(both())
    features = sample["groups"][0]
    assert (features["n_units"], features["n_planned"]) == (4, 3)
    assert features["ci_low"] <= whole["groups"][0]["cost_usd"] <= features["ci_high"]
    assert sample["groups"][1]["ci_low"] is None
    assert sample["groups"][1]["calls"] == whole["groups"][1]["calls"]
    assert whole["total"]["ci_low"] is None
    assert any("3 of 4 units" in line for line in sample["assumed"])
    assert sample["total"]["batch_usd"] == pytest.approx(sample["total"]["cost_usd"] / 2)
