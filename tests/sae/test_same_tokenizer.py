"""A corpus whose token ids mean something else to the subject is refused by every command that takes both."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer

from sae.cli.lineage import check_same_tokenizer
from sae.cli.main import main
from sae.corpus.tokenizer import train_tokenizer
from sae.errors import BadInput

ASSETS = Path(__file__).parents[2] / "results" / "assets"
SIZE = 265
TEXTS = ("the cat sat on the mat and the dog sat on the log " * 20, "der Hund und die Katze und der Baum im Wald " * 20)


def corpus_of(tokenizer: Tokenizer, sha256: str = "0" * 64) -> Any:
    return SimpleNamespace(path=Path("corpus"), manifest={"tokenizer": {"sha256": sha256}}, tokenizer=tokenizer)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the tokenizer of a Hugging Face model, as transformers writes it."""
    transformers = pytest.importorskip("transformers")
    made = train_tokenizer([TEXTS[0]], SIZE)
    transformers.PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_hugging_face_model_s_tokens_are_compared_id_by_id(model: Path) -> None:
    check_same_tokenizer(str(model), corpus_of(train_tokenizer([TEXTS[0]], SIZE)))
    check_same_tokenizer(f"{model}?shuffle=1", corpus_of(train_tokenizer([TEXTS[0]], SIZE)))
    other = train_tokenizer([TEXTS[1]], SIZE)  # as many tokens, so every id is in range
    assert other.get_vocab_size() == SIZE
    with pytest.raises(BadInput, match=r"made with another tokenizer than .*model was trained with.*--any-tokenizer"):
        check_same_tokenizer(str(model), corpus_of(other))


def test_a_model_without_a_tokenizer_is_not_taken_on_trust(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(BadInput, match="--any-tokenizer"):
        check_same_tokenizer(str(tmp_path), corpus_of(train_tokenizer([TEXTS[0]], SIZE)))


def test_the_shipped_subject_goes_with_the_shipped_corpus_alone() -> None:
    from sae.corpus import Corpus

    corpus = Corpus.open(ASSETS / "corpus")
    check_same_tokenizer(str(ASSETS / "subject-A"), corpus)
    check_same_tokenizer(f"{ASSETS / 'subject-A'}?shuffle=1", corpus)
    with pytest.raises(BadInput, match="another tokenizer"):
        check_same_tokenizer(str(ASSETS / "subject-A"), corpus_of(corpus.tokenizer, "1" * 64))


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--out", "made", "--split", "heldout"],
        ["metrics", str(ASSETS / "dictionary-A"), "--out", "made", "--split", "heldout"],
        ["harvest", "--dictionary", str(ASSETS / "dictionary-A"), "--out", "made"],
    ],
    ids=["train", "metrics", "harvest"],
)
def test_every_command_that_takes_both_refuses(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    other = tmp_path / "other"
    other.mkdir()
    for file in (ASSETS / "corpus").iterdir():
        (other / file.name).symlink_to(file)
    manifest = json.loads((ASSETS / "corpus" / "manifest.json").read_text())
    manifest["tokenizer"]["sha256"] = "1" * 64
    (other / "manifest.json").unlink()
    (other / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sae", *command, "--subject", str(ASSETS / "subject-A"), "--corpus", "other"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "other: made with another tokenizer" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "made").exists()
