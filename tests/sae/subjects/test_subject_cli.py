"""`sae subject` from a corpus folder to an exported subject."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sae.cli.subject import app
from sae.errors import BadInput
from sae.subjects import load_subject, processor
from sae.subjects.batches import inputs_and_targets

SIZES = ["--d-model", "16", "--d-mlp", "24", "--heads", "2", "--batch", "4", "--dtype", "float32"]


def write_corpus(folder: Path, seed: int = 0) -> Path:
    """A corpus folder of 50 tokens' vocabulary, written by the letter of its format."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    splits = {"train": 40, "validation": 12}
    for name, blocks in splits.items():
        np.save(folder / f"{name}.tokens.npy", rng.integers(0, 50, (blocks, 8)).astype(np.uint16))
    (folder / "vocab.json").write_text(json.dumps([f"t{i}" for i in range(50)]))
    (folder / "tokenizer.json").write_text("{}")
    entries = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in folder.iterdir()
    }
    manifest = {
        "format": "sae-corpus",
        "version": 1,
        "name": "tiny",
        "block_tokens": 8,
        "tokenizer": {"file": "tokenizer.json", **entries["tokenizer.json"], "vocab_size": 50, "eot": 0},
        "sources": [],
        "splits": {name: {"blocks": n, "tokens": 8 * n, "documents": 1} for name, n in splits.items()},
        "files": entries,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def run(*arguments: object) -> tuple[str, str]:
    """Standard output and standard error of `sae subject ...`; what it raises is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def trained(tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "subject"
    stdout, _ = run("train", "--corpus", corpus, "--out", out, "--tokens", 4000, "--name", "tiny-A", *SIZES, "--json")
    return corpus, out, json.loads(stdout)


def test_train_writes_a_subject_that_loads(tmp_path: Path) -> None:
    corpus, out, manifest = trained(tmp_path)
    assert manifest == json.loads((out / "manifest.json").read_text())
    assert (out / "tokenizer.json").read_bytes() == (corpus / "tokenizer.json").read_bytes()
    assert sorted(path.name for path in out.iterdir()) == sorted([*manifest["files"], "manifest.json"])
    training = manifest["training"]
    assert (training["tokens"], training["steps"], training["seed"], training["dtype"]) == (4000, 125, 0, "float32")
    assert training["epochs"] == round(500 / 39, 4)
    subject = load_subject(str(out))
    assert (subject.name, subject.context, subject.vocab_size) == ("tiny-A", 8, 50)
    tokens, targets = inputs_and_targets(np.load(corpus / "validation.tokens.npy"), np.arange(11))
    expected = torch.nn.functional.cross_entropy(subject.logits(tokens).flatten(0, 1), targets.flatten())
    assert training["validation_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_progress_goes_to_standard_error_and_the_result_to_standard_output(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    stdout, stderr = run("train", "--corpus", corpus, "--out", tmp_path / "s", "--tokens", 4000, *SIZES)
    assert "step 100 of 125: loss" in stderr
    assert "tokens/s" in stderr
    assert "s left" in stderr
    assert "validation loss" in stdout
    assert "step" not in stdout


def test_the_same_command_again_trains_nothing_and_another_is_refused(tmp_path: Path) -> None:
    corpus, out, manifest = trained(tmp_path)
    command = ["train", "--corpus", corpus, "--out", out, "--tokens", 4000, "--name", "tiny-A", *SIZES, "--json"]
    stdout, stderr = run(*command)
    assert json.loads(stdout) == manifest
    assert "step" not in stderr
    with pytest.raises(BadInput, match="finished subject made with other settings"):
        run(*command, "--seed", "1")


def test_a_manifest_of_before_the_end_of_a_text_was_recorded_is_of_the_same_run(tmp_path: Path) -> None:
    corpus, out, manifest = trained(tmp_path)
    assert manifest["corpus"].pop("eot") == json.loads((corpus / "manifest.json").read_text())["tokenizer"]["eot"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    command = ["train", "--corpus", corpus, "--out", out, "--tokens", 4000, "--name", "tiny-A", *SIZES, "--json"]
    assert json.loads(run(*command)[0]) == manifest
    run("export", out, "--out", tmp_path / "half", "--corpus", corpus)


def test_export_rounds_the_weights_and_measures_them_again(tmp_path: Path) -> None:
    corpus, out, manifest = trained(tmp_path)
    half = tmp_path / "half"
    exported = json.loads(run("export", out, "--out", half, "--corpus", corpus, "--json")[0])
    assert exported["dtype"] == "float16"
    assert exported["training"]["validation_loss_before_export"] == manifest["training"]["validation_loss"]
    tokens, targets = inputs_and_targets(np.load(corpus / "validation.tokens.npy"), np.arange(11))
    rounded = torch.nn.functional.cross_entropy(load_subject(str(half)).logits(tokens).flatten(0, 1), targets.flatten())
    assert exported["training"]["validation_loss"] == pytest.approx(float(rounded), rel=1e-6)
    assert exported["training"]["validation_loss"] != manifest["training"]["validation_loss"]
    assert (half / "weights.safetensors").stat().st_size < 0.6 * (out / "weights.safetensors").stat().st_size
    assert "tiny-A (float16)" in run("show", half)[0]
    with pytest.raises(BadInput, match="exists already"):
        run("export", out, "--out", half, "--corpus", corpus)
    with pytest.raises(BadInput, match="not the corpus"):
        run("export", out, "--out", tmp_path / "x", "--corpus", write_corpus(tmp_path / "other", seed=1))


def test_show_checks_the_files(tmp_path: Path) -> None:
    _, out, manifest = trained(tmp_path)
    assert json.loads(run("show", out, "--json")[0]) == manifest
    (out / "vocab.json").write_text("[]")
    with pytest.raises(BadInput, match=r"vocab\.json: damaged"):
        run("show", out)


@pytest.mark.parametrize(("speedup", "dtype"), [(5.0, torch.bfloat16), (0.2, torch.float32)])
def test_auto_takes_bfloat16_only_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, speedup: float, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(processor, "bfloat16_speedup", lambda: speedup)
    assert processor.resolve_dtype("auto") == dtype
    assert processor.resolve_dtype("float32") == torch.float32
    assert processor.resolve_dtype("bfloat16") == torch.bfloat16


def test_the_speed_of_bfloat16_is_measured() -> None:
    assert 0 < processor.bfloat16_speedup() < 1000
