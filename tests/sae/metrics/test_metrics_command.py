"""`sae metrics` from the command line: the files beside the dictionary, and who may be measured on what."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from metrics_fakes import HOOK, TinySubject, likely_tokens
from typer.testing import CliRunner

import sae.corpus
import sae.subjects
from sae.cli.metrics import metrics
from sae.dictionaries import ReluL1, save_dictionary
from sae.errors import BadInput


@dataclass
class Text:
    tokens: np.ndarray
    name: str = "text"
    block_tokens: int = 12

    def split(self, name: str) -> Text:
        assert name in ("validation", "heldout")
        return self

    @property
    def n_blocks(self) -> int:
        return len(self.tokens)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.tokens.tobytes()).hexdigest()[:16]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    tokens = likely_tokens(TinySubject.random(0), 1, blocks=30)
    monkeypatch.setattr(sae.subjects, "load_subject", lambda name: TinySubject.random(0))
    monkeypatch.setattr(sae.corpus.Corpus, "open", lambda path: Text(tokens))
    app = typer.Typer()
    app.command()(metrics)
    return app


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    # One latent reads what the identity does, so most of the loss is kept; the last never fires.
    eye = torch.eye(6)
    eye[5, 5] = 0.0
    made = ReluL1(eye, torch.zeros(6), torch.eye(6), torch.zeros(6), hook_name=HOOK)
    provenance = {"name": "six", "subject": {"name": "tiny", "fingerprint": TinySubject.random(0).fingerprint}}
    save_dictionary(made, tmp_path / "six", provenance)
    return tmp_path / "six"


def run(app: typer.Typer, dictionary: Path, *options: str) -> Any:
    return CliRunner().invoke(app, [str(dictionary), "--subject", "s", "--corpus", "c", "--any-tokenizer", *options])


def test_numbers_figure_and_provenance_are_written_beside_the_dictionary(
    command: typer.Typer, dictionary: Path
) -> None:
    result = run(command, dictionary, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((dictionary / "metrics.json").read_text())
    assert document["subject"] == {"name": "tiny", "fingerprint": "0123456789abcdef"}
    assert (document["corpus"]["name"], document["corpus"]["split"]) == ("text", "validation")
    assert document["dictionary"]["name"] == "six"
    assert document["sparsity"]["tokens"] == 360
    assert document["sparsity"]["dead"] == 1
    assert document["sparsity"]["ultra_low_density"] is None
    assert (dictionary / "density.svg").exists()
    assert (dictionary / "density.png").exists()


def test_the_table_says_what_dead_means_here(command: typer.Typer, dictionary: Path) -> None:
    result = run(command, dictionary, "--tokens", "100")
    assert "silent on 108 tokens" in result.stdout
    assert "cannot show a density below 1e-6" in result.stdout
    assert "95% interval" in result.stdout


def test_the_same_command_gives_the_same_numbers(command: typer.Typer, dictionary: Path) -> None:
    first, again = (run(command, dictionary, "--json", "--tokens", "120").stdout for _ in range(2))
    assert first == again


def test_another_subject_is_refused_unless_it_is_meant(
    command: typer.Typer, dictionary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TinySubject.random(1)
    other.fingerprint = "fedcba9876543210"
    monkeypatch.setattr(sae.subjects, "load_subject", lambda name: other)
    result = run(command, dictionary)
    assert isinstance(result.exception, BadInput)
    assert "fingerprint 0123456789abcdef, this one has fedcba9876543210" in str(result.exception)
    assert run(command, dictionary, "--any-subject").exit_code == 0


def test_more_tokens_than_there_are_is_refused(command: typer.Typer, dictionary: Path) -> None:
    result = run(command, dictionary, "--tokens", "361")
    assert isinstance(result.exception, BadInput)
    assert "361 tokens asked for, but the split has 360" in str(result.exception)


def test_help_has_an_example(command: typer.Typer) -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert "Example: sae metrics dictionary-A --subject" in " ".join(result.stdout.split())
