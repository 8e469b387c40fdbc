"""Packing by hand, reading by brute force, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.corpus import Corpus
from sae.corpus.manifest import write_manifest
from sae.corpus.pack import SplitWriter
from sae.errors import BadInput

BLOCK = 4


def write(folder: Path, documents: list[list[int]], vocab_size: int = 10) -> Path:
    """A corpus folder of these documents in its split "heldout"; the other files are stand-ins."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = SplitWriter(folder, "heldout", BLOCK, eot=0, vocab_size=vocab_size)
    for number, ids in enumerate(documents):
        row = {"document": f"{number:016x}", "domain": "d", "source": "s", "name": f"n{number}"}
        writer.add(np.array(ids), **row)
    sizes = writer.close()
    (folder / "vocab.json").write_text('["<|endoftext|>"]')
    tokenizer = {"file": "tokenizer.json", "sha256": "", "vocab_size": vocab_size, "eot": 0}
    write_manifest(
        folder,
        {"name": "t", "block_tokens": BLOCK, "tokenizer": tokenizer, "sources": [], "splits": {"heldout": sizes}},
    )
    return folder


def test_documents_are_packed_one_after_another(tmp_path: Path) -> None:
    # Stream: 5 6 0 | 7 8 9 1 0 | 2 0 | 3 3 0 -> three blocks of four; 0 of the last document's end is cut off.
    split = Corpus.open(write(tmp_path / "c", [[5, 6], [7, 8, 9, 1], [2], [3, 3]]), verify=True).split("heldout")
    assert split.tokens.tolist() == [[5, 6, 0, 7], [8, 9, 1, 0], [2, 0, 3, 3]]
    assert split.tokens.dtype == np.uint16
    assert split.doc_start.tolist() == [0, 3, 8, 10]
    assert split.documents["name"].tolist() == ["n0", "n1", "n2", "n3"]
    assert split.document_index(np.arange(12)).tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 3, 3]
    assert split.document_index(7) == 1


@pytest.mark.parametrize(("vocab_size", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_ids_of_a_large_vocabulary_take_four_bytes(tmp_path: Path, vocab_size: int, dtype: type) -> None:
    split = Corpus.open(write(tmp_path / "c", [[5, vocab_size - 1], [1]], vocab_size)).split("heldout")
    assert split.tokens.dtype == dtype
    assert split.tokens.tolist() == [[5, vocab_size - 1, 0, 1]]


def test_a_document_after_the_last_whole_block_is_left_out(tmp_path: Path) -> None:
    corpus = Corpus.open(write(tmp_path / "c", [[1, 2, 3], [4, 5]]))
    assert corpus.split("heldout").tokens.tolist() == [[1, 2, 3, 0]]
    assert corpus.split("heldout").documents["name"].tolist() == ["n0"]
    assert corpus.manifest["splits"]["heldout"] == {"blocks": 1, "tokens": 4, "documents": 1}


@settings(deadline=None, max_examples=15)  # each example writes and syncs files
@given(st.lists(st.lists(st.integers(1, 9), max_size=9), max_size=12))
def test_rows_of_any_packing_against_brute_force(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    split = Corpus.open(write(folder, documents)).split("heldout")
    stream = [(token, row) for row, ids in enumerate(documents) for token in [*ids, 0]]
    stream = stream[: len(stream) // BLOCK * BLOCK]
    assert split.tokens.reshape(-1).tolist() == [token for token, _ in stream]
    assert split.document_index(np.arange(len(stream))).tolist() == [row for _, row in stream]
    assert len(split.documents) == len({row for _, row in stream})


def test_the_tokens_are_memory_mapped(tmp_path: Path) -> None:
    split = Corpus.open(write(tmp_path / "c", [[1] * 100])).split("heldout")
    assert isinstance(split.tokens, np.memmap)
    assert not split.tokens.flags.writeable


def test_offsets_outside_the_split_are_refused(tmp_path: Path) -> None:
    split = Corpus.open(write(tmp_path / "c", [[1, 2, 3]])).split("heldout")
    for offset in (-1, 4):
        with pytest.raises(IndexError, match="which has 4 tokens"):
            split.document_index(offset)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "c", [[1, 2, 3]] * 9)


def edit_manifest(corpus: Path, **changes: Any) -> None:
    manifest = json.loads((corpus / "manifest.json").read_text())
    (corpus / "manifest.json").write_text(json.dumps(manifest | changes))


def test_truncated_file(corpus: Path) -> None:
    path = corpus / "heldout.tokens.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"heldout\.tokens\.npy: \d+ bytes instead of \d+ \(truncated or changed\)"):
        Corpus.open(corpus)


def test_changed_byte_is_seen_by_verify(corpus: Path) -> None:
    path = corpus / "heldout.tokens.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    Corpus.open(corpus)
    with pytest.raises(BadInput, match=r"heldout\.tokens\.npy: its checksum is not the manifest's"):
        Corpus.open(corpus, verify=True)


def test_missing_file(corpus: Path) -> None:
    (corpus / "heldout.doc_start.npy").unlink()
    with pytest.raises(BadInput, match=r"heldout\.doc_start\.npy: No such file"):
        Corpus.open(corpus)


def test_other_version(corpus: Path) -> None:
    edit_manifest(corpus, version=2)
    with pytest.raises(BadInput, match="corpus version 2, but this program reads version 1"):
        Corpus.open(corpus)


def test_other_format(corpus: Path) -> None:
    edit_manifest(corpus, format="sae-subject")
    with pytest.raises(BadInput, match="not a corpus folder"):
        Corpus.open(corpus)


def test_damaged_manifest(corpus: Path) -> None:
    (corpus / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        Corpus.open(corpus)
    (corpus / "manifest.json").write_text('{"format": "sae-corpus", "version": 1}')
    with pytest.raises(BadInput, match="lacks block_tokens, files, name"):
        Corpus.open(corpus)


def test_no_corpus_at_all(corpus: Path) -> None:
    shutil.rmtree(corpus)
    with pytest.raises(BadInput, match="no corpus here"):
        Corpus.open(corpus)


def test_tokens_of_another_shape_than_the_manifest_says(corpus: Path) -> None:
    edit_manifest(corpus, splits={"heldout": {"blocks": 8, "tokens": 32, "documents": 9}})
    with pytest.raises(BadInput, match=r"uint16 \[9, 4\] instead of uint16 \[8, 4\]"):
        Corpus.open(corpus).split("heldout")


def test_unknown_split(corpus: Path) -> None:
    with pytest.raises(BadInput, match="has no split 'test'; it has: heldout"):
        Corpus.open(corpus).split("test")


def test_errors_are_one_line(corpus: Path) -> None:
    (corpus / "heldout.documents.parquet").write_bytes(b"x" * (corpus / "heldout.documents.parquet").stat().st_size)
    with pytest.raises(BadInput) as caught:
        _ = Corpus.open(corpus).split("heldout").documents
    assert "\n" not in str(caught.value)
