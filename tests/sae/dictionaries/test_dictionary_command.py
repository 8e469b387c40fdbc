"""`sae dictionary export` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from sae.cli.dictionary import app
from sae.dictionaries import ReluL1, save_dictionary


def test_export_writes_half_precision_and_says_what_it_wrote(tmp_path: Path) -> None:
    dictionary = ReluL1(torch.eye(3), torch.zeros(3), torch.eye(3), torch.zeros(3), hook_name="h")
    save_dictionary(dictionary, tmp_path / "a", {"name": "a"})
    arguments = ["export", str(tmp_path / "a"), "--out", str(tmp_path / "b")]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert load_file(tmp_path / "b" / "sae_weights.safetensors")["W_enc"].dtype == torch.float16


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(app, ["export", "--help"])
    assert "Example: sae dictionary export" in " ".join(result.stdout.split())
