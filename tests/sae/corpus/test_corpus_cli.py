"""`sae corpus`: what goes to standard output, what help says, what is refused."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sae.cli.corpus import app
from sae.errors import BadInput

RUN = CliRunner()
WORDS = ["river", "stone", "bridge", "market", "winter", "garden", "letter", "window", "paper", "silver"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    rng = random.Random(1)
    rows = [{"text": " ".join(rng.choice(WORDS) for _ in range(60))} for _ in range(200)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = folder / "corpus"
    arguments = ["build", str(folder / "rows.jsonl"), "--out", str(out), "--vocab-size", "300", "--block-tokens", "16"]
    result = RUN.invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["format"] == "sae-corpus"
    assert "encoding documents" in result.stderr
    return out


def test_show(corpus: Path) -> None:
    shown = RUN.invoke(app, ["show", str(corpus), "--verify"], catch_exceptions=False).stdout
    assert "rows.jsonl" in shown
    assert "train:" in shown
    document = json.loads(RUN.invoke(app, ["show", str(corpus), "--json"], catch_exceptions=False).stdout)
    assert document == json.loads((corpus / "manifest.json").read_text())


def test_names_in_a_corpus_do_nothing_to_a_terminal(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    hostile = "n\x1b[2J\x9b31m\u202e[red]"
    manifest["name"] = hostile
    manifest["sources"][0] |= {"name": hostile, "licence": hostile, "domain": hostile}
    manifest["missing"] = [{"name": hostile, "reason": hostile}]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    shown = RUN.invoke(app, ["show", str(copy)], catch_exceptions=False).stdout
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.count("n\\x1b[2J\\x9b31m\\u202e[red]") >= 5  # the column of licences folds
    assert RUN.invoke(app, ["show", str(copy), "--json"], catch_exceptions=False).stdout.isascii()


def test_excerpt(corpus: Path, tmp_path: Path) -> None:
    arguments = ["excerpt", str(corpus), "--split", "train", "--tokens", "320", "--out", str(tmp_path / "e")]
    with pytest.raises(BadInput, match="only 0 redistributable tokens"):
        RUN.invoke(app, arguments, catch_exceptions=False)
    result = RUN.invoke(app, [*arguments, "--no-redistributable", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["splits"]["heldout"]["tokens"] >= 320


def test_files_and_a_recipe_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="either your own files or --recipe"):
        RUN.invoke(app, ["build", "a.txt", "--recipe", "r.toml"], catch_exceptions=False)


@pytest.mark.parametrize("command", ["build", "excerpt", "show"])
def test_help_has_an_example(command: str) -> None:
    result = RUN.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: sae corpus {command}" in result.stdout


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, sae.cli.corpus; print([m for m in ('torch', 'numpy', 'pandas', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
