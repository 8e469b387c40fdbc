"""A build from start to end, on files made here."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tokenizers import some_tokenizer

from sae.corpus import Corpus, Recipe, Settings, Source, build_corpus, recipe_for_files, write_excerpt
from sae.corpus.collect import keyed_order, split_of
from sae.corpus.tokenizer import TextTokenizer, tokenizer_fingerprint
from sae.errors import BadInput

SETTINGS = Settings(vocab_size=300, block_tokens=16)
WORDS = ["river", "stone", "bridge", "market", "winter", "garden", "letter", "window", "paper", "silver"]


def quiet(stage: str, done: int, total: int) -> None:
    """No progress."""


def article(number: int, words: int = 60) -> str:
    rng = random.Random(number)
    return f"Article {number}: " + " ".join(rng.choice(WORDS) for _ in range(words))


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("own")
    folder = base / "notes"
    (folder / "deep").mkdir(parents=True)
    for number in range(60):
        (folder / "deep" / f"{number}.txt").write_text(article(number) + "\n\nWrite to joe@example.org.\n")
    (folder / "copy.txt").write_text(article(3).upper() + "\n\nWRITE  TO joe@example.org.\n")
    (folder / "short.txt").write_text("too short")
    rows = [{"body": article(number)} for number in range(100, 160)]
    (base / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.table({"body": [article(n) for n in range(200, 260)]}), base / "rows.parquet")
    return [folder, base / "rows.jsonl", base / "rows.parquet"]


@pytest.fixture(scope="module")
def recipe(own_files: list[Path]) -> Recipe:
    return recipe_for_files(own_files, text_field="body", domain="own", licence="mine")


def build(recipe: Recipe, out: Path, settings: Settings = SETTINGS) -> Corpus:
    build_corpus(recipe, out, out.parent / "cache", settings, quiet)
    return Corpus.open(out, verify=True)


@pytest.fixture(scope="module")
def built(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return build(recipe, tmp_path_factory.mktemp("built") / "out")


def texts(corpus: Corpus, split: str) -> list[str]:
    """The documents of a split, decoded; the last may be cut."""
    part = corpus.split(split)
    bounds = pairwise([*part.doc_start.tolist(), part.tokens.size])
    stream = part.tokens.reshape(-1)
    return [corpus.tokenizer.decode(stream[a : b - 1].tolist()) for a, b in bounds]


def test_every_document_is_there_once_whole_and_masked(built: Corpus) -> None:
    written = [article(n) + "\n\nWrite to <email>." for n in range(60)]
    written += [article(n) for n in (*range(100, 160), *range(200, 260))]
    # Of each duplicate pair the one that the seeded order meets first stays.
    alternatives = {article(3).upper() + "\n\nWRITE  TO <email>.": written[3]}
    found = [text for split in built.splits for text in texts(built, split)[:-1]]
    assert len(found) == len(set(found))
    assert {alternatives.get(text, text) for text in found} <= set(written)
    assert len(found) >= len(written) - 3  # the last document of each split may be cut
    assert built.manifest["duplicates_removed"]["documents"] == 1
    assert built.manifest["left_out"]["shorter_than_64_characters"] == 1
    assert sum(s["documents"] for s in built.manifest["sources"]) == len(written)


def test_ids_domains_and_sources_are_kept(built: Corpus) -> None:
    rows = built.split("train").documents
    for text, (_, row) in zip(texts(built, "train")[:-1], rows.iterrows(), strict=False):
        assert row["document"] == hashlib.sha256(text.encode()).hexdigest()[:16]
        assert row["domain"] == "own"
        assert row["source"].startswith("rows." if int(text.split()[1][:-1]) >= 100 else "notes")
    assert rows["name"][rows["source"].str.startswith("notes")].str.fullmatch(r"deep/\d+\.txt|copy\.txt").all()


def test_splits_hold_the_shares_and_do_not_overlap(built: Corpus) -> None:
    ids = [set(built.split(name).documents["document"]) for name in ("train", "validation", "heldout")]
    assert len(ids[0] | ids[1] | ids[2]) == sum(map(len, ids))
    shares = [split_of(hashlib.sha256(str(n).encode()).digest()) for n in range(20_000)]
    # Binomial: five standard deviations about 1% and 8% of 20,000.
    assert abs(shares.count("validation") - 200) < 5 * 14.1
    assert abs(shares.count("heldout") - 1600) < 5 * 38.4


def test_same_files_and_seed_give_the_same_bytes(built: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    assert build(recipe, tmp_path / "again" / "out").manifest == built.manifest  # with the sha256 of every file
    other = build(recipe, tmp_path / "other" / "out", Settings(vocab_size=300, block_tokens=16, seed=1))
    assert other.split("train").fingerprint != built.split("train").fingerprint
    assert set(other.split("train").documents["name"]) >= set(built.split("train").documents["name"][:-1])


def test_the_tokenizer_of_a_subject_with_more_than_65536_entries(recipe: Recipe, tmp_path: Path) -> None:
    large = some_tokenizer(0)
    large.add_tokens([f"entry{number}" for number in range(66_000)])
    large.add_tokens([" river"])
    given = TextTokenizer(large, eot=7)
    build_corpus(recipe, tmp_path / "out", tmp_path / "cache", Settings(block_tokens=16), quiet, given)
    corpus = Corpus.open(tmp_path / "out", verify=True)
    assert (corpus.vocab_size, corpus.eot, corpus.vocab[66_300]) == (66_301, 7, " river")
    assert corpus.tokenizer_fingerprint == tokenizer_fingerprint(large)
    assert (corpus.split("train").tokens == 66_300).sum() > 50
    assert all(text.startswith(("Article", "ARTICLE")) for text in texts(corpus, "train"))
    excerpt = write_excerpt(corpus, "train", 320, tmp_path / "excerpt", redistributable=False)
    assert Corpus.open(tmp_path / "excerpt").split("heldout").tokens.dtype == np.uint32
    assert excerpt["tokenizer"] == corpus.manifest["tokenizer"]


def test_a_prefix_of_the_order_is_a_fair_sample() -> None:
    ids = [f"{domain}{n}" for domain in "ab" for n in range(2_000)]
    first = keyed_order(0, "order", ids)[:1_000]
    assert sorted(keyed_order(0, "order", ids)) == list(range(4_000))
    assert abs(sum(i < 2_000 for i in first) - 500) < 5 * 13.7  # hypergeometric standard deviation


def test_the_order_of_two_documents_does_not_depend_on_the_others() -> None:
    ids = [str(n) for n in range(100)]
    whole = [ids[i] for i in keyed_order(7, "order", ids)]
    half = [ids[:50][i] for i in keyed_order(7, "order", ids[:50])]
    assert half == [i for i in whole if int(i) < 50]


def test_a_source_is_cut_at_its_cap(own_files: list[Path], tmp_path: Path) -> None:
    source = Source(
        name="capped",
        domain="d",
        registry="files",
        extractor="text",
        licence="mine",
        redistributable=True,
        package=str(own_files[0]),
        take=("deep/*.txt",),
        max_bytes=5_000,
    )
    (row,) = build(Recipe("r", (source,)), tmp_path / "out").manifest["sources"]
    longest = max(len(article(n)) for n in range(60)) + 40
    assert 5_000 <= row["bytes"] < 5_000 + longest


def test_a_long_file_is_cut_into_documents(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("\n\n".join(article(n, 300) for n in range(60)))
    recipe = recipe_for_files([tmp_path / "book.txt"], text_field="text", domain="own", licence="mine")
    manifest = build(recipe, tmp_path / "out").manifest
    (row,) = manifest["sources"]
    assert row["documents"] == -(-row["bytes"] // 20_000) or 0.7 < row["documents"] / (row["bytes"] / 21_000) < 1.3


def missing_source() -> Source:
    package = "no-such-package-of-any-registry"
    return Source("gone", "d", "debian", "text", "none", False, package=package)


def test_a_missing_package_is_named(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with_gone = Recipe("r", (*recipe.sources, missing_source()))
    with pytest.raises(
        BadInput, match=r"gone \(debian package no-such-.*apt-get is not on this machine.*--allow-missing"
    ):
        build(with_gone, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    manifest = build(
        with_gone, tmp_path / "out", Settings(vocab_size=300, block_tokens=16, allow_missing=True)
    ).manifest
    assert [entry["name"] for entry in manifest["missing"]] == ["gone"]
    assert "apt-get is not on this machine" in manifest["missing"][0]["reason"]
    assert "gone" not in {source["name"] for source in manifest["sources"]}


def test_a_failed_build_leaves_nothing(recipe: Recipe, tmp_path: Path) -> None:
    before = set(os.listdir(tmp_path))
    with pytest.raises(BadInput, match="vocabulary entries of the 60000 asked"):
        build(recipe, tmp_path / "out", Settings(vocab_size=60_000))
    assert set(os.listdir(tmp_path)) == before


def test_an_existing_folder_is_never_written_over(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="exists already"):
        build(recipe, tmp_path / "out")


def test_no_text_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(BadInput, match="no text was found"):
        build(recipe_for_files([tmp_path / "a.txt"], text_field="t", domain="d", licence="l"), tmp_path / "out")


def test_too_little_for_a_block(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(article(1))
    recipe = recipe_for_files([tmp_path / "a.txt"], text_field="t", domain="d", licence="l")
    with pytest.raises(BadInput, match="too little for one training block of 4096"):
        build(recipe, tmp_path / "out", Settings(vocab_size=260, block_tokens=4096))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.txt", "no such file or folder"),
        (lambda folder: folder, "no .txt, .jsonl or .parquet file in this folder"),
        (lambda folder: _touch(folder / "a.pdf"), "only .txt, .jsonl and .parquet"),
    ],
)
def test_files_that_cannot_be_read(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        recipe_for_files([make(tmp_path)], text_field="t", domain="d", licence="l")


def _touch(path: Path) -> Path:
    path.write_text("x")
    return path


@pytest.fixture(scope="module")
def mixed(own_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus of two sources: one that may be passed on, one that may not."""
    free = {"registry": "files", "package": str(own_files[0]), "extractor": "text"}
    table: dict[str, Any] = {"domain": "d", "licence": "CC0-1.0", **free}
    recipe = Recipe(
        "r",
        (
            Source(name="free", redistributable=True, take=("deep/*[0-7].txt",), **table),
            Source(name="closed", redistributable=False, take=("deep/*[89].txt",), **table),
        ),
    )
    return build(recipe, tmp_path_factory.mktemp("mixed") / "out")


def test_an_excerpt_has_only_what_may_be_passed_on(mixed: Corpus, tmp_path: Path) -> None:
    write_excerpt(mixed, "train", 600, tmp_path / "small", redistributable=True)
    small = Corpus.open(tmp_path / "small", verify=True)
    assert small.splits == ("heldout",)
    assert [source["name"] for source in small.manifest["sources"]] == ["free"]
    assert small.manifest["sources"][0]["licence"] == "CC0-1.0"
    rows = mixed.split("train").documents
    expected = rows[rows["source"] == "free"]["document"].tolist()
    found = small.split("heldout").documents["document"].tolist()
    assert found == expected[: len(found)]
    originals = dict(zip(rows["document"], texts(mixed, "train"), strict=True))
    assert texts(small, "heldout")[:-1] == [originals[document] for document in found[:-1]]
    assert 600 <= small.manifest["sources"][0]["tokens"] < 600 + 400
    assert small.vocab == mixed.vocab
    assert small.manifest["tokenizer"] == mixed.manifest["tokenizer"]
    assert small.manifest["excerpt"]["split_sha256"] == mixed.manifest["files"]["train.tokens.npy"]["sha256"]


def test_long_documents_of_an_excerpt_are_cut_and_counted(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(article(number, 5_000))
    recipe = recipe_for_files([tmp_path], text_field="t", domain="d", licence="l")
    whole = build(recipe, tmp_path / "out")
    write_excerpt(whole, "train", 10_000, tmp_path / "small", redistributable=False)
    small = Corpus.open(tmp_path / "small")
    lengths = np.diff(small.split("heldout").doc_start)
    assert (lengths == 4_001).all()
    assert small.manifest["excerpt"]["documents_cut"] == 3
    assert small.manifest["sources"][0]["documents"] == 3


def test_an_excerpt_larger_than_the_split_is_refused(mixed: Corpus, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"only \d+ redistributable tokens of the 1000000 asked"):
        write_excerpt(mixed, "train", 1_000_000, tmp_path / "small", redistributable=True)
    assert not (tmp_path / "small").exists()
