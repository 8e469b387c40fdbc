"""Both wings together: features planted in a toy subject are harvested, explained, simulated, and ranked first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_job import Reader

from autointerp import registry
from autointerp.jobs import load_job, run_job
from autointerp.protocols import ChatRequest, EchoReply, EchoRequest
from autointerp.results import summarise
from autointerp.types import Usage
from sae.dictionaries import ReluL1
from sae.harvest import HarvestSettings, Source, harvest
from tests.sae.harvest.harvest_fakes import HOOK, FakeSubject, write_corpus, zipf_blocks

VOCAB, BLOCK, WIDTH, WINDOW = 80, 48, 12, 12
PLANTED = {0: 7, 1: 11, 2: 16}  # feature -> the token it stands for

JOB = f"""
name = "planted"
[store]
path = "store"
[units]
features = "all"
neurons = "all"
[model]
provider = "scripted"
name = "reader"
[statistics]
resamples = 200
[[presets]]
name = "openai"
scale = "0-9"
splits = {{ window = {WINDOW} }}
"""


class TokenReader(Reader):
    """Explains by the tokens it saw at the highest level, and simulates by them."""

    asked = []  # noqa: RUF012

    def _explain(self, request: ChatRequest) -> str:
        lines = [line.split("\t") for line in request.messages[-1].content.splitlines() if line.count("\t") == 1]
        return "the tokens " + ", ".join(sorted({f"({token})" for token, level in lines if level == "9"}))

    def _simulate(self, request: EchoRequest) -> EchoReply:
        told, text = request.messages[-2].content, request.messages[-1].content
        tokens = [text[:slot].rsplit("\n", 1)[-1].rstrip("\t") for slot in request.slots]
        high = ["9" if f"({token})" in told else "0" for token in tokens]
        rows = tuple(tuple(-0.01 if level == one else -9.0 for level in request.candidates) for one in high)
        return EchoReply(rows, "reader-1", Usage(len(text), 0))


def planted() -> tuple[FakeSubject, ReluL1]:
    """Each of three directions stands for one token; the other tokens differ in every direction but these.

    So each neuron answers to every token a little, and three of five features to one token alone.
    """
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0].T
    noise = rng.normal(scale=0.2, size=(VOCAB, WIDTH - 3)) @ directions[3:]
    embedding = 1 + noise  # far enough from 0 that the ReLU does nothing
    for feature, token in PLANTED.items():
        embedding[token] += 0.5 * directions[feature]
    read = np.concatenate([directions[:3], rng.normal(size=(2, WIDTH)) / np.sqrt(WIDTH)])
    dictionary = ReluL1(
        W_enc=torch.tensor(read.T, dtype=torch.float32).contiguous(),
        b_enc=torch.full((5,), -0.1),
        W_dec=torch.tensor(read / np.linalg.norm(read, axis=1, keepdims=True), dtype=torch.float32),
        b_dec=torch.ones(WIDTH),
        hook_name=HOOK,
    )
    return FakeSubject(torch.tensor(embedding, dtype=torch.float32), None), dictionary


def test_planted_features_of_a_toy_subject_are_found_and_ranked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, dictionary = planted()
    corpus = write_corpus(tmp_path / "corpus", zipf_blocks(1, 160, BLOCK, VOCAB), vocab=VOCAB)
    settings = HarvestSettings(window=WINDOW, top=30, per_interval=4, random=60, out_of_context=10)
    harvest(Source(subject, HOOK, dictionary, "planted", corpus, "heldout"), settings, tmp_path / "store")
    found = registry.find
    monkeypatch.setattr(
        registry, "find", lambda group, name: TokenReader if group == "providers" else found(group, name)
    )
    (tmp_path / "job.toml").write_text(JOB)
    summary = summarise(run_job(load_job(tmp_path / "job.toml"), tmp_path, tmp_path / "run"))
    first = summary["ranking"][:3]
    assert {(place["kind"], int(place["unit"].rsplit("/", 1)[1])) for place in first} == {
        ("feature", feature) for feature in PLANTED
    }
    for place in first:
        token = PLANTED[int(place["unit"].rsplit("/", 1)[1])]
        assert place["explanation"] == f"the tokens (t{token})"
        assert place["score"] > 0.95
        # Another's explanation may predict nothing at all here: Unscored, so that there is no gap.
        assert place["control_gap"] is None or place["control_gap"] > 0.5
    neurons = summary["summary"]["neuron"]["openai.simulation"]
    assert neurons["n_attempted"] == WIDTH
    assert neurons["n_scored"] == 0 or neurons["mean"] < 0.8
