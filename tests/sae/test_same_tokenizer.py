"""A corpus whose tokens another tokenizer made is refused by whatever reads it with a subject; the subject's is taken.

Through the `sae` command itself: one clear line, exit code 2, and nothing is written.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tokenizers import as_written_before, some_text, some_tokenizer
from tokenizers import Tokenizer, processors

from sae.cli.lineage import check_same_tokenizer
from sae.cli.main import main
from sae.corpus import Corpus
from sae.corpus.tokenizer import EOT_TEXT
from sae.dictionaries import ReluL1, save_dictionary
from sae.subjects import (
    OneLayerConfig,
    OneLayerTransformer,
    load_subject,
    load_tokenizer,
    save_subject,
)

transformers = pytest.importorskip("transformers")

ASSETS = Path(__file__).parents[2] / "results" / "assets"
HOOK, ENTRIES, BLOCK, NEURONS = "blocks.0.mlp.hook_post", 300, 16, 12
SMALL = ["--split", "train", "--window", "8"]
READERS = {
    "train": ["train", "--hook", HOOK, "--expansion", "2", "--steps", "4", "--batch-size", "16", "--dtype", "float32"],
    "metrics": ["metrics", "dictionary", "--any-subject", "--split", "train"],
    "harvest": ["harvest", "--dictionary", "dictionary", "--any-subject", *SMALL],
}
Sae = Callable[..., tuple[int, str]]


@pytest.fixture
def sae(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sae:
    """A command's exit code and what it said on standard error, but for the library's progress bar."""

    def call(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["sae", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        lines = capsys.readouterr().err.replace("\r", "\n").splitlines(keepends=True)
        return ended.value.code, "".join(line for line in lines if line.strip() and "Loading weights:" not in line)

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """texts.jsonl, corpus, dictionary; subjects with the corpus's tokenizer and with another one of the same size."""
    folder = tmp_path_factory.mktemp("tokenizers")
    rows = [{"text": f"{some_text(0, 60)} {number} {EOT_TEXT} \N{SNOWMAN}"} for number in range(80)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, seed in {"own": 0, "other": 1}.items():
        tokenizer = some_tokenizer(seed, ENTRIES)
        write_subject(folder / f"{name}-subject", tokenizer)
        write_model(folder / f"{name}-model", tokenizer)
    shutil.copytree(folder / "own-model", folder / "older-model")
    older = as_written_before(some_tokenizer(0, ENTRIES))
    (folder / "older-model" / "tokenizer.json").write_text(older)
    weights = ReluL1(torch.eye(NEURONS), torch.zeros(NEURONS), torch.eye(NEURONS), torch.zeros(NEURONS), hook_name=HOOK)
    save_dictionary(weights, folder / "dictionary", {"name": "small"})
    return folder


def write_subject(folder: Path, tokenizer: Tokenizer, corpus: dict[str, Any] | None = None) -> None:
    """A subject of ours."""
    model = OneLayerTransformer(OneLayerConfig(d_model=8, n_heads=2, d_mlp=NEURONS, d_vocab=ENTRIES, n_ctx=BLOCK))
    model.init_weights(np.random.default_rng(0))
    companions = {"tokenizer.json": tokenizer.to_str().encode()}
    made_with = corpus or {"name": "c"}
    save_subject(folder, model, name="s", corpus=made_with, training={}, dtype="float32", companions=companions)


def write_model(folder: Path, tokenizer: Tokenizer) -> None:
    """One of Hugging Face, whose library writes the tokenizer in its own way.

    With a special token, one that is put before each text, and a limit.
    """
    sizes = {"hidden_size": 8, "intermediate_size": NEURONS, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=ENTRIES, max_position_embeddings=BLOCK, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOT_TEXT)
    fast.backend_tokenizer.enable_truncation(5)
    before = processors.TemplateProcessing(single=f"{EOT_TEXT} $A", special_tokens=[(EOT_TEXT, 0)])
    fast.backend_tokenizer.post_processor = before
    fast.save_pretrained(folder)


@pytest.fixture
def corpus(place: Path, sae: Sae) -> Path:
    """Made with the tokenizer of own-subject."""
    out = place / "corpus"
    if not out.exists():
        build = ["corpus", "build", "texts.jsonl", "--block-tokens", BLOCK, "--out", out]
        assert sae(*build, "--tokenizer", "own-subject")[0] == 0
    return out


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("subject", ["other-subject", "other-model"])
def test_the_same_size_but_other_tokens_are_refused(
    command: str, subject: str, corpus: Path, sae: Sae, tmp_path: Path
) -> None:
    code, said = sae(*READERS[command], "--subject", subject, "--corpus", corpus, "--out", tmp_path / "out")
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"sae: {corpus}: made with another tokenizer (")
    assert "sae corpus build --tokenizer" in said
    assert not list(tmp_path.iterdir())
    words = [*READERS[command], "--subject", subject, "--corpus", corpus, "--any-tokenizer"]
    assert sae(*words, "--out", tmp_path / "out")[0] == 0


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("subject", ["own-subject", "own-model", "older-model", "own-model?shuffle=1"])
def test_the_subjects_own_are_read_whoever_saved_its_tokenizer(
    command: str, subject: str, corpus: Path, sae: Sae, tmp_path: Path
) -> None:
    files = {(corpus.parent / f"{name}/tokenizer.json").read_bytes() for name in ("corpus", "own-model", "older-model")}
    assert len(files) == 3
    code, said = sae(*READERS[command], "--subject", subject, "--corpus", corpus, "--out", tmp_path / "out")
    assert code == 0, said
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["LlamaConfig", "GPT2Config"])  # for GPT-2 the library makes an empty tokenizer
def test_a_model_without_a_tokenizer_is_refused(kind: str, corpus: Path, sae: Sae, tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": ENTRIES}
    config = getattr(transformers, kind)(**sizes, bos_token_id=0, eos_token_id=0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "bare")
    for words, way_out in (
        (["harvest", "--hook", HOOK, "--corpus", corpus, "--subject", tmp_path / "bare", *SMALL], "--any-tokenizer"),
        (["corpus", "build", "texts.jsonl", "--tokenizer", tmp_path / "bare"], "tokenizer.json"),
    ):
        code, said = sae(*words, "--out", tmp_path / "out")
        assert (code, said.count("\n")) == (2, 1)
        assert said.startswith(f"sae: {tmp_path / 'bare'}: no tokenizer")
        assert way_out in said
    assert not (tmp_path / "out").exists()


def test_a_corpus_made_with_a_models_tokenizer_is_the_text_and_nothing_but(
    place: Path, corpus: Path, sae: Sae, tmp_path: Path
) -> None:
    code, said = sae(
        *("corpus", "build", "texts.jsonl", "--block-tokens", BLOCK, "--tokenizer", "own-model"),
        "--out",
        tmp_path / "c",
    )
    assert code == 0, said
    made, ours = Corpus.open(tmp_path / "c", verify=True), Corpus.open(corpus)
    # Neither the special token, which the text spells and the model puts before it, nor the limit changes anything.
    assert made.split("train").fingerprint == ours.split("train").fingerprint
    assert (made.vocab, made.vocab_size, made.eot) == (ours.vocab, ENTRIES, 0)
    assert made.manifest["tokenizer"]["fingerprint"] == made.tokenizer_fingerprint == ours.tokenizer_fingerprint
    split = made.split("train")
    ends = np.flatnonzero(split.tokens.reshape(-1) == made.eot)
    assert len(ends) >= split.n_documents - 1
    stream, starts = split.tokens.reshape(-1), split.doc_start
    texts = {json.loads(line)["text"] for line in (place / "texts.jsonl").read_text().splitlines()}
    for first, beyond in pairwise(starts.tolist()):
        assert stream[beyond - 1] == made.eot
        assert made.tokenizer.decode(stream[first : beyond - 1].tolist(), skip_special_tokens=False) in texts


def test_a_subject_keeps_the_end_of_a_text_of_its_corpus(place: Path, tmp_path: Path) -> None:
    write_subject(tmp_path / "subject", some_tokenizer(0), corpus={"name": "c", "eot": 7})
    assert load_tokenizer(str(tmp_path / "subject")).eot == 7
    assert load_tokenizer(str(place / "own-subject")).eot == 0  # of before it was recorded


def test_a_size_is_not_asked_of_a_tokenizer_that_is_given(sae: Sae, tmp_path: Path) -> None:
    code, said = sae(
        *("corpus", "build", "texts.jsonl", "--tokenizer", "own-subject", "--vocab-size", 400, "--out", tmp_path / "c")
    )
    assert (code, said.count("\n")) == (2, 1)
    assert "--tokenizer brings its own entries" in said


def test_what_was_shipped_before_fingerprints_were_recorded_is_read() -> None:
    corpus = Corpus.open(ASSETS / "corpus")
    assert "fingerprint" not in corpus.manifest["tokenizer"]
    for subject in ("subject-A", "subject-A?shuffle=1", "subject-B"):
        check_same_tokenizer(load_subject(str(ASSETS / subject)), corpus)
