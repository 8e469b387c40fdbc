"""The pacing that a job file asks for, and what the progress line says of it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from autointerp.errors import BadJob, RateLimited
from autointerp.jobs import Job, load_job
from autointerp.jobs import progress as progress_module
from autointerp.jobs.models import opened_models, paused
from autointerp.jobs.progress import phases
from autointerp.protocols import ChatRequest, Message
from autointerp.providers import Limits
from autointerp.providers.retries import Patience

JOB = """
name = "paced"
[store]
path = "store"
[model]
provider = "scripted"
name = "m"
settings = {{ path = "script.json" }}
{}
[[presets]]
name = "openai"
units = {{ features = 1 }}
"""


def job_of(folder: Path, lines: str = "") -> Job:
    (folder / "script.json").write_text('{"": "hi"}')
    path = folder / "job.toml"
    path.write_text(JOB.format(lines))
    return load_job(path)


def test_the_job_files_limits_reach_the_model(tmp_path: Path) -> None:
    lines = (
        "concurrency = 6\nmin_concurrency = 2\nrequests_per_minute = 500\ntokens_per_minute = 200000\nmax_wait_s = 60"
    )

    async def limits(job: Job) -> tuple[Limits, str]:
        async with opened_models(job, tmp_path) as models:
            model = models.explainer
            call = await model.pacing.begin(1, Patience(0.0))
            with call:
                call.failed(RateLimited("429", 90.0))
            request = ChatRequest("m", (Message("user", "hello"),), 8)
            with pytest.raises(Exception, match="max_wait_s") as caught:
                await model.chat(request)
            return model.pacing.limits, str(caught.value)

    found, error = asyncio.run(limits(job_of(tmp_path, lines)))
    assert found == Limits(500, 200_000, 6, 2)
    assert "max_wait_s = 60:" in error


def test_a_job_that_says_nothing_knows_no_limits(tmp_path: Path) -> None:
    model = job_of(tmp_path).model
    assert model is not None
    assert (model.requests_per_minute, model.tokens_per_minute) == (None, None)
    assert (model.concurrency, model.min_concurrency, model.max_wait_s) == (8, 1, 900.0)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (
            "request_per_minute = 5",
            "model.request_per_minute: unknown key: known are concurrency, max_wait_s, min_concurrency, name, "
            "provider, replay_only, requests_per_minute, settings, tokens_per_minute",
        ),
        ("requests_per_minute = 0", "model.requests_per_minute: Input should be greater than or equal to 1"),
        ("tokens_per_minute = 1.5", "model.tokens_per_minute: Input should be a valid integer"),
        ('concurrency = "4"', "model.concurrency: Input should be a valid integer"),
        ("max_wait_s = -1", "model.max_wait_s: Input should be greater than or equal to 0"),
        ("max_wait_s = inf", "model.max_wait_s: Input should be a finite number"),
        ("concurrency = 2\nmin_concurrency = 3", "model: min_concurrency = 3 is above concurrency = 2"),
    ],
)
def test_a_wrong_pacing_is_one_line(tmp_path: Path, lines: str, complaint: str) -> None:
    with pytest.raises(BadJob) as caught:
        job_of(tmp_path, lines)
    assert str(caught.value) == f"{tmp_path / 'job.toml'}: {complaint}"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            'name = "paced"',
            'name = "paced"\nsead = 3',
            "sead: unknown key: known are baselines, explainer_model",
        ),
        ("features = 1", "fatures = 1", "presets.0.units.fatures: unknown key: known are control_features, control_n"),
    ],
)
def test_an_unknown_key_is_answered_with_the_known_ones(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "job.toml"
    path.write_text(JOB.format("").replace(old, new))
    with pytest.raises(BadJob, match=complaint.replace(".", r"\.")):
        load_job(path)


def test_the_line_says_until_when_the_run_is_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=160, color_system=None)
    monkeypatch.setattr(progress_module, "Console", lambda **_: console)

    async def run(job: Job) -> None:
        async with opened_models(job, tmp_path) as models:
            model = models.explainer
            with phases() as start:
                advance = start("explaining", 2, lambda: paused(models))
                advance("1 asked")
                assert paused(models) == ""
                call = await model.pacing.begin(1, Patience(0.0))
                with call:
                    call.failed(RateLimited("429", 3600.0))

    asyncio.run(run(job_of(tmp_path)))
    assert "1 asked, paused by a rate limit until " in shown.getvalue()
