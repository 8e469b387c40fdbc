"""Asking again for what failed: calls that failed, and replies that could not be read; nothing else is asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.stores import write_store

from autointerp import registry
from autointerp.errors import BadInput, BadReply
from autointerp.jobs import load_job, once_more, run_job
from autointerp.protocols import Capabilities, ChatReply, ChatRequest, EchoReply, EchoRequest, Reply, Request
from autointerp.results import read_manifest, read_scores
from autointerp.types import Usage

JOB = """
name = "{name}"
[store]
path = "store"
[units]
features = [0, 1, 3]
[model]
provider = "scripted"
name = "moody"
[statistics]
resamples = 100
[[presets]]
name = "openai"
controls = false
"""


class Moody:
    """Says of one unit nothing that can be read the first `bad` times, and cannot be reached for another one."""

    name = "scripted"
    asked: list[Request]
    bad = 0
    unread = 10
    down = False

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> Moody:
        return cls()

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(
            prompt_logprobs=True, generated_logprobs=True, json_mode=True, seed=True, single_token_ten=True
        )

    async def ask(self, request: Request) -> Reply:
        type(self).asked.append(request)
        if isinstance(request, EchoRequest):
            levels = tuple(tuple(-0.1 * abs(slot % 7 - level) for level in range(11)) for slot in request.slots)
            return EchoReply(levels, "moody-1", Usage(9, 0))
        if "Text 1:" in request.messages[-1].content:
            return self._levels(request)
        question = request.messages[-1].content.splitlines() + request.messages[-2].content.splitlines()
        strong = {line.split("\t")[0].strip() for line in question if line.endswith("\t10")}
        if strong & {"cat", "dog"} and request.sample < self.bad:
            return ChatReply("...", "stop", "moody-1", Usage(9, 1))
        if strong and all(token.isdigit() for token in strong) and self.down:
            raise BadReply("the line is dead")
        return ChatReply("words", "stop", "moody-1", Usage(9, 1))

    def _levels(self, request: ChatRequest) -> ChatReply:
        """A level for each token; of one text in `unread`, at first, nothing that can be read."""
        labels = json.loads(request.messages[-1].content.partition("Text 1: ")[2].splitlines()[0])
        if not request.sample and int(hashlib.sha256("".join(labels).encode()).hexdigest(), 16) % self.unread == 0:
            return ChatReply("...", "stop", "moody-1", Usage(9, 1))
        levels = {label: len(label) % 10 for label in labels}
        return ChatReply(json.dumps(levels), "stop", "moody-1", Usage(9, 1))

    async def close(self) -> None: ...


@pytest.fixture(autouse=True)
def moody(monkeypatch: pytest.MonkeyPatch) -> type[Moody]:
    class Fresh(Moody):
        asked: list[Request] = []  # noqa: RUF012

    found = registry.find
    monkeypatch.setattr(registry, "find", lambda group, name: Fresh if group == "providers" else found(group, name))
    return Fresh


def job(folder: Path, name: str = "moody") -> Path:
    if not (folder / "store").exists():
        write_store(folder / "store")
    path = folder / f"{name}.toml"
    path.write_text(JOB.format(name=name))
    return path


def reasons(run: Path) -> list[str]:
    frame = read_scores(run)
    frame = frame[(frame.scorer == "openai.simulation") & frame.primary]
    return sorted(str(row.reason) if row.status != "scored" else "scored" for row in frame.itertuples())


def explanations(run: Path) -> dict[tuple[str, str, str], float]:
    """The scored values of the units' own explanations."""
    frame = read_scores(run).query("role == 'explanation' and status == 'scored'")
    return {(row.unit, row.scorer, row.metric): row.value for row in frame.itertuples()}


def chats(asked: list[Request]) -> list[ChatRequest]:
    return [one for one in asked if isinstance(one, ChatRequest)]


def test_only_what_failed_is_asked_again_and_the_rest_keeps_its_bytes(tmp_path: Path, moody: type[Moody]) -> None:
    moody.bad, moody.down = 2, True
    loaded, run = load_job(job(tmp_path)), tmp_path / "run"
    run_job(loaded, tmp_path, run)
    assert reasons(run) == ["no_explanation", "no_explanation", "scored"]
    kept = explanations(run)

    moody.down = False
    moody.asked.clear()
    again = once_more(loaded, run)
    assert again is not None
    run_job(again, tmp_path, run)
    # One reply to the call that had failed, and one more to the question that had been answered with nothing.
    assert sorted(one.sample for one in chats(moody.asked)) == [0, 1]
    assert reasons(run) == ["no_explanation", "scored", "scored"]

    moody.asked.clear()
    again = once_more(loaded, run)
    assert again is not None
    run_job(again, tmp_path, run)
    assert [one.sample for one in chats(moody.asked)] == [2]
    assert reasons(run) == ["scored", "scored", "scored"]
    assert kept.items() <= explanations(run).items()
    assert read_manifest(run)["presets"]["openai"]["changed_from_paper"]["samples"] == {"paper": 1, "used": 3}

    assert once_more(loaded, run) is None
    # The job as it was run repeats the run, with nothing asked.
    moody.asked.clear()
    repeated = run_job(load_job(run / "job.toml"), run, tmp_path / "repeated")
    assert moody.asked == []
    assert (repeated / "scores.parquet").read_bytes() == (run / "scores.parquet").read_bytes()


def test_contexts_that_failed_in_a_unit_with_a_score_are_asked_again(tmp_path: Path, moody: type[Moody]) -> None:
    """A score over eight of ten contexts is a score; the other two are asked for again all the same."""
    path = job(tmp_path)
    path.write_text(path.read_text() + 'simulator = "json"\nminimum_share = 0.1\n')
    loaded = load_job(path)
    run = run_job(loaded, tmp_path, tmp_path / "run")
    assert reasons(run) == ["scored", "scored", "scored"]
    failed = {
        (row.unit, row.failed) for row in read_scores(run).itertuples() if row.failed and row.scorer.count(".") == 1
    }
    assert failed
    moody.asked.clear()
    again = once_more(loaded, run)
    assert again is not None
    run_job(again, tmp_path, run)
    assert {one.sample for one in moody.asked} == {1}
    assert len(moody.asked) == sum(count for _, count in failed)
    assert not (read_scores(run).failed > 0).any()
    assert once_more(loaded, run) is None


def test_another_reply_is_drawn_with_another_seed(tmp_path: Path, moody: type[Moody]) -> None:
    """A server that honours seeds would else say the same again."""
    moody.bad = 3
    run = run_job(load_job(job(tmp_path)), tmp_path, tmp_path / "run")
    again = once_more(load_job(job(tmp_path)), run)
    assert again is not None
    run_job(again, tmp_path, run)
    (second,) = (one for one in chats(moody.asked) if one.sample)
    (first,) = (one for one in chats(moody.asked) if not one.sample and one.messages == second.messages)
    assert second.sample == 1
    assert first.seed != second.seed


def test_the_run_of_another_job_is_refused(tmp_path: Path) -> None:
    run = run_job(load_job(job(tmp_path)), tmp_path, tmp_path / "run")
    with pytest.raises(BadInput, match=r"holds the run of another job \(moody, seed 0\)"):
        once_more(load_job(job(tmp_path, "other")), run)
