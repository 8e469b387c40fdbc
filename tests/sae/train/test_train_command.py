"""`sae train` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from train_fakes import HOOK, ArrayCorpus, TableSubject, random_tokens, sparse_mixtures, unit_directions
from typer.testing import CliRunner

import sae.corpus
import sae.subjects
from sae.cli.train import train
from sae.errors import BadInput

SHORT = ["--steps", "40", "--batch-size", "32", "--expansion", "2", "--l1", "0.01", "--dtype", "float32"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    subject = TableSubject(torch.from_numpy(sparse_mixtures(0, 500, unit_directions(1, 12, 8), active=2)))
    corpus = ArrayCorpus(random_tokens(2, 100, 32, 500))
    monkeypatch.setattr(sae.subjects, "load_subject", lambda name: subject)
    monkeypatch.setattr(sae.corpus.Corpus, "open", lambda path: corpus)
    app = typer.Typer()
    app.command()(train)
    return app


def run(app: typer.Typer, out: Path, *options: str) -> Any:
    arguments = ["--subject", "s", "--corpus", "c", "--out", str(out), "--any-tokenizer", *SHORT, *options]
    return CliRunner().invoke(app, arguments, catch_exceptions=True)


def test_json_is_one_document_on_standard_output(command: typer.Typer, tmp_path: Path) -> None:
    result = run(command, tmp_path / "d", "--json", "--mse-convention", "sum", "--resample-at", "")
    assert result.exit_code == 0, result.output
    manifest = json.loads(result.stdout)
    assert manifest == json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert manifest["hook"] == HOOK
    assert manifest["training"]["settings"]["resample_fractions"] == []
    assert manifest["training"]["mse_convention"] == "sum"


def test_progress_is_on_standard_error(command: typer.Typer, tmp_path: Path) -> None:
    result = run(command, tmp_path / "d")
    assert result.exit_code == 0, result.output
    assert "step 40/40" in result.stderr
    for word in ("/s", "L0", "MSE", "dead", "s left"):
        assert word in result.stderr
    assert "16 latents" in result.stdout
    assert "step" not in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resample-at", "0.1;0.2"], "--resample-at '0.1;0.2': give parts of the run between commas"),
        (["--device", "abacus"], "--device 'abacus' is not known"),
        (["--steps", "1000"], "1000 steps of 32 need 32,000 activations, but split 'train' has 3,200"),
        (["--lr", "0"], "learning_rate must be above 0"),
    ],
)
def test_bad_input_is_one_line(command: typer.Typer, tmp_path: Path, options: list[str], message: str) -> None:
    result = run(command, tmp_path / "d", *options)
    assert isinstance(result.exception, BadInput)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "d").exists()


def test_help_has_an_example(command: typer.Typer) -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert "Example: sae train --subject" in " ".join(result.stdout.split())
