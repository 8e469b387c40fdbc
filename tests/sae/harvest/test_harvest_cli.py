"""The command `sae harvest`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harvest_fakes import HOOK, folder_bytes, random_dictionary, write_corpus, zipf_blocks
from support.tokenizers import some_tokenizer

from sae.cli.main import main
from sae.dictionaries import save_dictionary
from sae.subjects import OneLayerConfig, OneLayerSubject, OneLayerTransformer, save_subject

ROOT = Path(__file__).parents[3]
VOCAB, BLOCK = 270, 16
SMALL = ["--window", "8", "--top", "4", "--per-interval", "2", "--random", "6", "--out-of-context", "3"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders: corpus, other (another tokenizer), subject, dictionary (trained on it), stranger (on another)."""
    folder = tmp_path_factory.mktemp("harvest")
    tokenizer = some_tokenizer(0, VOCAB)
    for name, made_with in {"corpus": tokenizer, "other": some_tokenizer(1, VOCAB)}.items():
        write_corpus(folder / name, zipf_blocks(0, 40, BLOCK, VOCAB), vocab=VOCAB, tokenizer=made_with)
    model = OneLayerTransformer(OneLayerConfig(d_model=8, n_heads=2, d_mlp=12, d_vocab=VOCAB, n_ctx=BLOCK))
    model.init_weights(np.random.default_rng(0))
    save_subject(
        folder / "subject",
        model,
        name="tiny",
        corpus={"name": "fake corpus"},
        training={},
        dtype="float32",
        companions={"tokenizer.json": tokenizer.to_str().encode()},
    )
    fingerprint = OneLayerSubject(model, "tiny").fingerprint
    dictionary = random_dictionary(0, d_in=12, d_sae=20, bias=-0.1)
    for name, subject in (("dictionary", fingerprint), ("stranger", "0" * 16)):
        save_dictionary(dictionary, folder / name, {"name": name, "subject": {"fingerprint": subject}})
    return folder


def sae(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "sae.cli.main", "harvest", *options]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """In this process, which saves the imports. Returns the exit code."""

    def call(*options: str) -> int:
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["sae", "harvest", *options])
        with pytest.raises(SystemExit) as end:
            main()
        assert isinstance(end.value.code, int)
        return end.value.code

    return call


def common(subject: str = "subject", dictionary: str = "dictionary", corpus: str = "corpus") -> list[str]:
    return ["--subject", subject, "--dictionary", dictionary, "--corpus", corpus, *SMALL]


def test_harvest_of_a_subject_and_of_its_shuffled_control(place: Path) -> None:
    done = sae(place, *common(), "--out", "store", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["store"] == "store"
    assert result["kinds"]["feature"]["units"] == 20
    assert result["kinds"]["neuron"]["units"] == 12
    assert result["control"] is None
    assert result["dictionary"]["name"] == "dictionary"
    assert "tokens/s" in done.stderr
    manifest = json.loads((place / "store/manifest.json").read_text())
    assert {key: manifest[key] for key in result if key != "store"} == {k: v for k, v in result.items() if k != "store"}

    control = sae(place, *common("subject?shuffle=1"), "--out", "control", "--any-subject", "--tokens", "320")
    assert control.returncode == 0, control.stderr
    manifest = json.loads((place / "control/manifest.json").read_text())
    assert manifest["control"] == "shuffled_weights"
    assert manifest["subject"]["name"] == "tiny-shuffled"
    assert manifest["corpus"]["tokens"] == 320
    assert "written: control" in control.stdout


def test_neurons_alone_need_a_hook(place: Path, here: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--subject", "subject", "--corpus", "corpus", *SMALL, "--out", "neurons"]
    assert here(*options) == 2
    assert "--hook" in capsys.readouterr().err
    assert here(*options, "--hook", HOOK) == 0
    assert (place / "neurons/neuron").exists()
    assert not (place / "neurons/feature").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (common(corpus="other"), "another tokenizer"),
        (common(dictionary="stranger"), "trained on a subject with fingerprint 0000000000000000"),
        ([*common(), "--split", "train"], "split 'train' is empty"),
        ([*common(), "--split", "nowhere"], "no split 'nowhere'"),
        ([*common(), "--hook", "blocks.0.hook_mlp_out"], "over hook 'blocks.0.mlp.hook_post'"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_code_2(
    place: Path,
    here: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert here(*options, "--out", "refused") == 2
    out, err = capsys.readouterr()
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert not (place / "refused").exists()


def test_interrupted_it_exits_with_130_and_the_same_command_ends_with_the_same_store(place: Path) -> None:
    script = """
import os, signal, sae.harvest.scan as scan
from sae.cli.main import main
tally = scan.Scan.tally
def tally_and_press_control_c(self, batch):
    tally(self, batch)
    if self.done == 20:
        os.kill(os.getpid(), signal.SIGINT)
scan.Scan.tally = tally_and_press_control_c
main()
"""
    options = [*common(), "--batch", "5", "--out", "stopped"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    stopped = subprocess.run(
        [sys.executable, "-c", script, "harvest", *options],
        cwd=place,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert stopped.returncode == 130
    assert not (place / "stopped").exists()
    with np.load(place / "stopped.scan.npz") as state:
        assert int(state["done"]) == 20
    for out in ("stopped", "whole"):
        assert sae(place, *common(), "--out", out).returncode == 0
    assert folder_bytes(place / "stopped") == folder_bytes(place / "whole")


def test_help_has_an_example(here: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert here("--help") == 0
    assert "Example: sae harvest --subject" in capsys.readouterr().out
