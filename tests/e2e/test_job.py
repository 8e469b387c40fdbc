"""A whole job on a planted store: explained, simulated, controlled, ranked, written, and repeated to the same bytes."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.stores import PLANTED, PLANTED_NEURONS, write_store
from support.waits import shorten_waits

from autointerp import registry
from autointerp.errors import Authentication, AutointerpError, BadInput, BadReply, NotInLedger
from autointerp.jobs import load_job, on_model, run_job
from autointerp.protocols import Capabilities, ChatReply, ChatRequest, EchoReply, EchoRequest, Reply, Request
from autointerp.providers import Ledger
from autointerp.results import read_details, read_scores, show_text, summarise
from autointerp.types import Usage

EXPLANATIONS = {"cat": "cats and dogs", "digit": "digits"}
LINE = re.compile(r"(?P<token>[^\t\n]*)\tunknown")

# Before a test puts its own reader in the place of every provider.
FIND = registry.find


class Reader:
    """A stand-in for an LLM that reads its prompts: it explains what it was shown and simulates what it was told."""

    name = "scripted"
    asked: list[Request] = []  # noqa: RUF012
    fails: Mapping[str, Exception] = {}

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> Reader:
        return cls()

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(
            prompt_logprobs=True, generated_logprobs=True, json_mode=True, seed=True, single_token_ten=True
        )

    async def ask(self, request: Request) -> Reply:
        type(self).asked.append(request)
        await asyncio.sleep(0)
        for kind, error in self.fails.items():
            if type(request).__name__ == kind:
                raise error
        if isinstance(request, ChatRequest):
            return ChatReply(self._explain(request), "stop", "reader-1", Usage(len(request.messages[-1].content), 5))
        assert isinstance(request, EchoRequest)
        return self._simulate(request)

    def _explain(self, request: ChatRequest) -> str:
        lines = [line.split("\t") for line in request.messages[-1].content.splitlines() if line.count("\t") == 1]
        strong = [token for token, level in lines if level.isdigit() and int(level) >= 5]
        text = EXPLANATIONS["cat"] if any("cat" in token for token in strong) else "something else"
        if strong and sum(token.strip().isdigit() for token in strong) > len(strong) / 2:
            text = EXPLANATIONS["digit"]
        return f"Thoughts.\n<answer>{text}</answer>" if "<answer>" in request.messages[0].content else text

    def _simulate(self, request: EchoRequest) -> EchoReply:
        told = request.messages[-2].content
        text = request.messages[-1].content
        rows = []
        for slot in request.slots:
            token = text[:slot].rsplit("\n", 1)[-1].rstrip("\t")
            high = ("cats" in told and token.strip() in ("cat", "dog")) or (
                "digits" in told and token.strip().isdigit()
            )
            rows.append(
                tuple(-0.05 if candidate == ("9" if high else "0") else -6.0 for candidate in request.candidates)
            )
        return EchoReply(tuple(rows), "reader-1", Usage(len(text), 0))

    async def close(self) -> None: ...


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> type[Reader]:
    """Puts the reader behind the provider name "scripted", fresh for each test."""

    class Fresh(Reader):
        asked: list[Request] = []  # noqa: RUF012

    found = registry.find
    monkeypatch.setattr(registry, "find", lambda group, name: Fresh if group == "providers" else found(group, name))
    return Fresh


JOB = """
name = "planted"
seed = 3
[store]
path = "store"
control = "control"
[units]
features = [{features}]
neurons = [{neurons}]
control_features = [0, 1]
[baselines]
units = "all"
[model]
provider = "scripted"
name = "reader"
replay_only = {replay}
[statistics]
resamples = 200
[[presets]]
name = "openai"
[[presets]]
name = "tm"
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    write_store(folder / "store")
    write_store(folder / "control", control="shuffled_weights")
    return folder


def write_job(folder: Path, *, replay: bool = False, text: str = JOB, **names: str) -> Path:
    path = folder / "job.toml"
    features = names.get("features", ", ".join(str(index) for index in PLANTED.values()))
    neurons = names.get("neurons", ", ".join(str(index) for index in PLANTED_NEURONS.values()))
    path.write_text(text.format(features=features, neurons=neurons, replay=str(replay).lower()))
    return path


@pytest.fixture(scope="module")
def finished(stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of the whole job, shared by the tests that only look at it."""
    with pytest.MonkeyPatch.context() as patch:
        found = registry.find
        patch.setattr(registry, "find", lambda group, name: Reader if group == "providers" else found(group, name))
        path = write_job(stores)
        out = tmp_path_factory.mktemp("run")
        return run_job(load_job(path), path.parent, out)


def own(frame: pd.DataFrame, scorer: str) -> dict[tuple[str, int], Any]:
    rows = frame[(frame.scorer == scorer) & frame.primary & (frame.role == "explanation")]
    return {(row.kind, row.index_): row for row in rows.rename(columns={"index": "index_"}).itertuples()}


def test_planted_features_are_found_and_ranked_first(finished: Path) -> None:
    ranking = summarise(finished)["ranking"]
    first = {(place["kind"], int(place["unit"].rsplit("/", 1)[1])) for place in ranking[:2]}
    assert first == {("feature", PLANTED["animal"]), ("feature", PLANTED["digits"])}
    assert all(place["score"] > 0.7 and place["ci_low"] > 0 for place in ranking[:2])
    assert [place["rank"] for place in ranking] == list(range(1, len(ranking) + 1))


def test_a_silent_unit_is_unscored_and_counted(finished: Path) -> None:
    scores = own(read_scores(finished), "openai.simulation")
    silent = scores["feature", PLANTED["silent"]]
    assert (silent.status, silent.reason) == ("unscored", "never_fires")
    assert pd.isna(silent.value)
    summary = summarise(finished)["summary"]["feature"]["openai.simulation"]
    assert summary["unscored"]["never_fires"] == 1
    assert summary["n_attempted"] == len(PLANTED)
    assert summary["n_scored"] + sum(summary["unscored"].values()) == summary["n_attempted"]


def test_controls_score_below_the_unit_itself(finished: Path) -> None:
    gap = summarise(finished)["controls"]["control_other_explanation"]["feature"]["openai.simulation"]["gap"]
    assert gap["mean"] > 0.2
    places = summarise(finished)["ranking"]
    assert all(place["control_gap"] is None or place["control_gap"] > 0.3 for place in places[:2])


def test_a_control_is_never_the_units_own_explanation(finished: Path) -> None:
    lines = {(line["unit"], line["preset"], line["role"]): line["explanation"] for line in read_details(finished)}
    lent = [(key, told) for key, told in lines.items() if key[2] == "control_other_explanation" and "text" in told]
    assert lent
    for (unit, preset, _), told in lent:
        assert told["unit"] != unit
        assert told["text"] != lines[unit, preset, "explanation"].get("text")


def test_baselines_cover_every_unit_that_fires_in_both_kinds(finished: Path) -> None:
    frame = read_scores(finished)
    rows = frame[(frame.scorer == "openai.token_lookup") & frame.primary & frame.control_subject.isna()]
    silent = {("feature", PLANTED["silent"]), ("neuron", PLANTED_NEURONS["silent_neuron"])}
    expected = {("feature", i) for i in PLANTED.values()} | {("neuron", i) for i in PLANTED_NEURONS.values()}
    assert set(zip(rows.kind, rows["index"], strict=True)) >= expected - silent
    constant = frame[(frame.scorer == "openai.constant") & (frame.status == "unscored")]
    assert "constant_prediction" in set(constant.reason)
    assert set(frame[(frame.scorer == "tm.constant") & (frame.status == "scored")].value) == {0.0}


def test_no_context_is_both_shown_and_scored(finished: Path) -> None:
    for line in read_details(finished):
        shown = {record["context"] for record in line["records"] if record["split"] == "explain"}
        scored = {record["context"] for record in line["records"] if record["split"] == "score"}
        assert not shown & scored


def test_the_folder_holds_what_is_promised(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {
        "job.toml",
        "manifest.json",
        "scores.parquet",
        "ranking.csv",
        "report.html",
        "figures",
        "units.jsonl.gz",
    } <= names
    assert {path.suffix for path in (finished / "figures").iterdir()} == {".svg", ".png"}
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["calls"]["live"] > 0
    assert manifest["models"] == [{"provider": "scripted", "asked": "reader", "served": "reader-1"}]
    assert all(len(digest) == 64 for digest in manifest["prompts"].values())
    assert manifest["coverage"]["openai.simulation/explanation/feature"]["unscored"]["never_fires"] == 1
    text = show_text(summarise(finished), rows=5)
    assert "scored" in text
    assert "Ranking" in text


def test_the_report_is_self_contained_and_inert(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)</script>" not in page  # a token of the hostile unit
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)


def test_the_same_job_on_the_same_ledger_gives_the_same_bytes(
    finished: Path, stores: Path, tmp_path: Path, reader: type[Reader]
) -> None:
    job = finished / "job.toml"
    again = run_job(load_job(job), job.parent, tmp_path / "again")
    for name in ("scores.parquet", "units.jsonl.gz", "ranking.csv"):
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name
    assert reader.asked == []
    calls = json.loads((again / "manifest.json").read_text())["calls"]
    assert calls["live"] == 0
    assert calls["replayed"] + calls["joined"] > 0


def test_replay_only_never_asks(stores: Path, tmp_path: Path, reader: type[Reader]) -> None:
    (tmp_path / "store").symlink_to(stores / "store")
    (tmp_path / "control").symlink_to(stores / "control")
    path = write_job(tmp_path, replay=True, features="0", neurons="0")
    out = run_job(load_job(path), tmp_path, tmp_path / "run")
    assert reader.asked == []
    scores = own(read_scores(out), "openai.simulation")
    row = scores["feature", 0]
    assert (row.status, row.reason) == ("unscored", "no_explanation")
    assert NotInLedger.reason.value in row.detail


@pytest.mark.parametrize("kind", ["ChatRequest", "EchoRequest"])
def test_peer_defect_failed_calls_are_unscored_and_never_zero(
    stores: Path, tmp_path: Path, reader: type[Reader], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A failed call must not become an all-zero prediction that is scored (PEERS: OAI, TDB, NP, DEL)."""
    (tmp_path / "store").symlink_to(stores / "store")
    (tmp_path / "control").symlink_to(stores / "control")
    shorten_waits(monkeypatch)
    reader.fails = {kind: BadReply("the server answered with HTML")}
    path = write_job(tmp_path, features="0, 1", neurons="0")
    out = run_job(load_job(path), tmp_path, tmp_path / "run")
    frame = read_scores(out)
    simulated = frame[frame.scorer.str.contains("simulation")]
    assert set(simulated.status) == {"unscored"}
    assert simulated.value.isna().all()
    reason = "bad_reply" if kind == "EchoRequest" else "no_explanation"
    assert reason in set(simulated.reason)


def test_a_refused_key_stops_the_job(stores: Path, tmp_path: Path, reader: type[Reader]) -> None:
    (tmp_path / "store").symlink_to(stores / "store")
    (tmp_path / "control").symlink_to(stores / "control")
    reader.fails = {"ChatRequest": Authentication("the key was refused")}
    path = write_job(tmp_path, features="0", neurons="0")
    with pytest.raises(Authentication) as stopped:
        run_job(load_job(path), tmp_path, tmp_path / "run")
    assert stopped.value.exit_code == 3
    assert len(reader.asked) < 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("seed = 3", "sead = 3"), "sead: unknown key"),
        (('name = "openai"', 'name = "opneai"'), "unknown preset 'opneai': known are openai, tm"),
        (('provider = "scripted"\nname = "reader"', 'provider = "scripted"'), "model.name: missing key"),
        (('path = "store"', 'path = "nowhere"'), "nowhere"),
        (("features = [{features}]", "features = 1000000"), "only 5 fire"),
        (("features = [{features}]", "features = [77777]"), "does not exist"),
        (('name = "tm"', 'name = "tm"\nmetricks = 3'), "metricks"),
        (('control = "control"', 'control = "store"'), "is not a control"),
    ],
)
def test_a_wrong_job_is_refused_in_one_line(
    stores: Path, tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    for name in ("store", "control"):
        (tmp_path / name).symlink_to(stores / name)
    assert change[0] in JOB
    path = write_job(tmp_path, text=JOB.replace(*change))
    with pytest.raises(AutointerpError) as refused:
        run_job(load_job(path), tmp_path, tmp_path / "run")
    assert refused.value.exit_code == 2
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run" / "scores.parquet").exists()


def test_every_reply_is_in_the_ledger_once(finished: Path) -> None:
    async def count() -> tuple[int, int, list[str]]:
        async with Ledger(_ledger_of(finished)) as ledger:
            return ledger.statistics().answered, ledger.statistics().failed, ledger.verify()

    answered, failed, problems = asyncio.run(count())
    calls = json.loads((finished / "manifest.json").read_text())["calls"]
    assert answered == calls["live"]
    assert failed == 0
    assert problems == []


def _ledger_of(finished: Path) -> Path:
    return (finished / load_job(finished / "job.toml").ledger.path).resolve()


def test_details_are_readable_text(finished: Path) -> None:
    with gzip.open(finished / "units.jsonl.gz", "rt", encoding="ascii") as file:
        lines = [json.loads(line) for line in file]
    scored = [record for line in lines for record in line["records"] if record["expected"] is not None]
    assert scored
    assert all(len(record["expected"]) == len(record["tokens"]) == len(record["truth"]) for record in scored)


@pytest.mark.parametrize(
    ("llm", "provider", "name", "simulator"),
    [
        ("https://some.host/v1:other", "openai_compatible", "other", "json"),
        ("openai:gpt-4.1-mini", "openai", "gpt-4.1-mini", "json"),
        ("openai:gpt-5", "openai", "gpt-5", "json"),
        ("anthropic:claude-haiku-4-5", "anthropic", "claude-haiku-4-5", "json"),
        ("http://127.0.0.1:8000/v1:model", "openai_compatible", "model", "json"),
        ("local:/models/some.gguf", "local", "some", None),
    ],
)
def test_another_model_can_be_named(
    stores: Path, monkeypatch: pytest.MonkeyPatch, llm: str, provider: str, name: str, simulator: str | None
) -> None:
    monkeypatch.setattr(registry, "find", FIND)
    job = on_model(load_job(write_job(stores)), llm, 7)
    assert job.model is not None
    assert (job.model.provider, job.model.name, job.model.replay_only) == (provider, name, False)
    made = FIND("providers", provider).configured(name, job.model.settings)  # the real one accepts these settings
    assert made.capabilities(name).prompt_logprobs is (provider == "local")
    assert {preset.settings.get("simulator") for preset in job.presets} == {simulator}
    sent = {preset.settings.get(f"{who}_temperature") for preset in job.presets for who in ("explainer", "simulator")}
    assert sent == {None if made.capabilities(name).temperature else "none"}
    groups = [(preset.units.features, preset.units.neurons, preset.units.control_features) for preset in job.presets]
    assert groups == [(7, 7, 7), (7, 7, 7)]
    assert job.baselines.units == "selected"


@pytest.mark.parametrize("llm", ["", "gpt", "local:", "http://nowhere", "ftp://x/v1:m"])
def test_a_model_of_no_known_form_is_refused(stores: Path, llm: str) -> None:
    with pytest.raises(BadInput, match="give openai:MODEL"):
        on_model(load_job(write_job(stores)), llm, None)
