"""Bad input, through the `sae` command itself: one clear line, exit code 2, and nothing is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from sae.cli.main import main
from sae.dictionaries import ReluL1, save_dictionary


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """The one line with which a command is refused."""
    monkeypatch.setattr(sys, "argv", ["sae", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith("sae: ")
    return told.err


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    weights = ReluL1(torch.eye(4), torch.zeros(4), torch.eye(4), torch.zeros(4), hook_name="blocks.0.mlp.hook_post")
    save_dictionary(weights, tmp_path / "dictionary", {"name": "small"})
    return tmp_path / "dictionary"


def test_a_file_in_the_place_of_a_folder(
    dictionary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    for out in (thesis, thesis / "copy"):
        line = refused(capsys, monkeypatch, "dictionary", "export", dictionary, "--out", out)
        assert f"{out}: Not a directory" in line
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize("content", [b"", b"GGU", b"GGUF", b"GGUF junk", b"GGUF\x03\x00\x00\x00" + b"\xff" * 40])
def test_a_model_file_that_is_not_a_gguf_or_is_cut_short(
    dictionary: Path,
    tmp_path: Path,
    content: bytes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "model.gguf").write_bytes(content)
    subject = tmp_path / "model.gguf"
    line = refused(capsys, monkeypatch, "metrics", dictionary, "--subject", subject, "--corpus", tmp_path)
    assert f"{subject}: " in line


def test_a_bare_command_prints_its_help_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["sae"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert "Usage" in told.out
    assert told.err == ""
