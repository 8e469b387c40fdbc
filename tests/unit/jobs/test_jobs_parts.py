"""A model for each part of the method, variants of one preset, and units of a range of densities."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.stores import PLANTED, write_store

from autointerp import registry
from autointerp.errors import BadJob, Unsupported
from autointerp.jobs import load_job, run_job
from autointerp.jobs.models import opened_models, paused
from autointerp.jobs.selection import select
from autointerp.protocols import Capabilities, ChatReply, ChatRequest, EchoReply, EchoRequest, Message, Reply, Request
from autointerp.records import ContextStore
from autointerp.results import read_manifest, read_scores
from autointerp.types import Kind, Usage

HEAD = """
name = "parts"
[store]
path = "store"
[units]
features = [0, 1, 3]
[statistics]
resamples = 100
"""
MODEL = '[{}]\nprovider = "scripted"\nname = "{}"\n'
PRESET = '[[presets]]\nname = "openai"\ncontrols = false\n'


class Counting:
    """Counts who was asked for what. A model whose name begins with "chat" has no log-probabilities."""

    name = "scripted"
    asked: Counter[tuple[str, str]]
    opened: Counter[str]

    def __init__(self, model: str) -> None:
        type(self).opened[model] += 1

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> Counting:
        return cls(model)

    def capabilities(self, model: str) -> Capabilities:
        echo = not model.startswith("chat")
        return Capabilities(
            prompt_logprobs=echo, generated_logprobs=True, json_mode=True, seed=True, single_token_ten=True
        )

    async def ask(self, request: Request) -> Reply:
        type(self).asked[request.model, type(request).__name__] += 1
        if isinstance(request, ChatRequest):
            return ChatReply("words", "stop", request.model, Usage(9, 1))
        assert isinstance(request, EchoRequest)
        levels = tuple(tuple(-0.1 * abs(slot % 7 - level) for level in range(11)) for slot in request.slots)
        return EchoReply(levels, request.model, Usage(9, 0))

    async def close(self) -> None: ...


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    class Fresh(Counting):
        asked: Counter[tuple[str, str]] = Counter()  # noqa: RUF012
        opened: Counter[str] = Counter()  # noqa: RUF012

    found = registry.find
    monkeypatch.setattr(registry, "find", lambda group, name: Fresh if group == "providers" else found(group, name))
    return Fresh


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(tmp_path / "store")
    return tmp_path


def run(folder: Path, *parts: str) -> Path:
    (folder / "job.toml").write_text(HEAD + "".join(parts))
    return run_job(load_job(folder / "job.toml"), folder, folder / "run")


def test_each_part_asks_its_own_model(folder: Path, counting: type[Counting]) -> None:
    parts = (MODEL.format("explainer_model", "chat-big"), MODEL.format("simulator_model", "small"))
    found = run(folder, MODEL.format("model", "other"), *parts, PRESET)
    assert counting.asked == {("chat-big", "ChatRequest"): 3, ("small", "EchoRequest"): 30}
    asked = {one["asked"] for one in read_manifest(found)["models"]}
    assert asked == {"chat-big", "small"}


def test_parts_with_equal_settings_share_one_model(folder: Path, counting: type[Counting]) -> None:
    run(folder, MODEL.format("model", "same"), MODEL.format("simulator_model", "same"), PRESET)
    assert counting.opened == {"same": 1}


def test_models_of_one_account_have_limits_of_their_own(folder: Path, counting: type[Counting]) -> None:
    own = "requests_per_minute = 300\nconcurrency = 2\n"
    run(folder, MODEL.format("model", "small"), MODEL.format("explainer_model", "big") + own, PRESET)
    assert {model for model, _ in counting.asked} == {"small", "big"}
    with pytest.raises(BadJob, match="big is named twice with different limits"):
        run(folder, MODEL.format("model", "big"), MODEL.format("explainer_model", "big") + own, PRESET)


async def test_open_calls_are_counted_once_whatever_shares_them(
    folder: Path, counting: type[Counting], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two sections of one model, which have one pacing, and another model of the same account."""

    async def slowly(self: Counting, request: Request) -> Reply:
        await asyncio.sleep(0.1)
        return ChatReply("words", "stop", request.model, Usage(9, 1))

    monkeypatch.setattr(counting, "ask", slowly)
    patient = MODEL.format("simulator_model", "m") + "max_wait_s = 1000.0\n"
    (folder / "job.toml").write_text(
        HEAD + MODEL.format("model", "m") + patient + MODEL.format("scorer_model", "n") + PRESET
    )
    async with opened_models(load_job(folder / "job.toml"), folder) as models:
        asked = [
            asyncio.create_task(model.chat(ChatRequest(name, (Message("user", word),), 8)))
            for model, name, word in (
                (models.explainer, "m", "one"),
                (models.simulator, "m", "two"),
                (models.scorer, "n", "three"),
            )
        ]
        async with asyncio.timeout(10):
            while sum(model.counters.attempts for model in models.each) < 3:
                await asyncio.sleep(0.001)
        assert paused(models) == ""
    await asyncio.gather(*asked)
    assert "recording the replies of 3 open calls first" in capsys.readouterr().err


def test_a_part_whose_model_cannot_serve_it_is_refused_before_anything_is_asked(
    folder: Path, counting: type[Counting]
) -> None:
    with pytest.raises(Unsupported, match="chat-only, which the simulator all_at_once needs"):
        run(folder, MODEL.format("model", "m"), MODEL.format("simulator_model", "chat-only"), PRESET)
    assert not counting.asked


@pytest.mark.parametrize("parts", [("explainer_model",), ("simulator_model", "scorer_model")])
def test_a_part_without_a_model_is_refused(folder: Path, parts: tuple[str, ...]) -> None:
    with pytest.raises(BadJob, match=f"{parts[0]} is named, but no \\[model\\] for the other parts"):
        run(folder, *(MODEL.format(part, "m") for part in parts), PRESET)


def test_variants_of_a_preset_share_explanations_and_calls(folder: Path, counting: type[Counting]) -> None:
    """The second variant asks for its own simulations alone."""
    variant = PRESET + 'label = "json"\nsimulator = "json"\n'
    found = run(folder, MODEL.format("model", "m"), PRESET, variant)
    assert counting.asked == {("m", "ChatRequest"): 3 + 30, ("m", "EchoRequest"): 30}
    frame = read_scores(found)
    assert {"openai.simulation", "json.simulation"} <= set(frame.scorer)
    told = (
        frame[frame.role == "explanation"]
        .groupby("scorer")["provenance"]
        .apply(lambda all_: {key for one in all_ for entry in json.loads(one) for key in entry["request_keys"]})
    )
    assert told["openai.simulation"] & told["json.simulation"]
    assert read_manifest(found)["presets"]["json"]["protocol"] == "openai"


def test_one_preset_twice_needs_labels(folder: Path) -> None:
    with pytest.raises(BadJob, match="give variants of one a label each"):
        run(folder, MODEL.format("model", "m"), PRESET, PRESET)


def test_a_label_with_a_dot_would_break_the_scorers_names(folder: Path) -> None:
    with pytest.raises(BadJob, match="label: letters, digits, - and _"):
        run(folder, MODEL.format("model", "m"), PRESET, PRESET + 'label = "a.b"\n')


def test_units_of_a_range_of_densities(folder: Path) -> None:
    store = ContextStore.open(folder / "store")
    density = {index: store.statistics(store.unit(Kind.FEATURE, index)).density for index in PLANTED.values()}
    low, high = sorted(value for value in density.values() if value)[1:3]
    chosen = {unit.index for unit in select(store, Kind.FEATURE, "all", 0, low, high)}
    assert chosen == {index for index, value in density.items() if low <= value <= high}
    assert chosen
    with pytest.raises(BadJob, match=r"99 features asked, but only \d fire with a density of"):
        select(store, Kind.FEATURE, 99, 0, low, high)


def test_a_range_the_wrong_way_round_is_refused(folder: Path) -> None:
    head = HEAD.replace("[statistics]", "min_density = 0.5\nmax_density = 0.1\n[statistics]")
    (folder / "job.toml").write_text(head + PRESET)
    with pytest.raises(BadJob, match=r"min_density = 0.5 is above max_density = 0.1"):
        load_job(folder / "job.toml")
