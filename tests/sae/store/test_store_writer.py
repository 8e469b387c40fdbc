"""A store is there whole or not at all, and its manifest tells a changed file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae.errors import BadInput
from sae.store import FORMAT, VERSION, StoreWriter, read_manifest


def written(out: Path) -> StoreWriter:
    store = StoreWriter(out)
    store.text("vocab.json", '["é"]')
    store.save("contexts/position.npy", np.arange(5), np.int64)
    mapped = store.map("feature/activations.npy", np.float32, (3, 2))
    mapped[1] = [1.5, 2.5]
    store.map("neuron/activations.npy", np.float32, (0, 2))
    store.table("documents.parquet", pd.DataFrame({"document": ["a", "b"]}, index=[7, 3]))
    return store


def test_a_finished_store_holds_what_was_written(tmp_path: Path) -> None:
    store = written(tmp_path / "s")
    assert not (tmp_path / "s").exists()
    manifest = store.finish({"hook": "h"})
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert np.load(tmp_path / "s/contexts/position.npy").dtype == np.int64
    assert np.load(tmp_path / "s/feature/activations.npy", mmap_mode="r").tolist() == [[0, 0], [1.5, 2.5], [0, 0]]
    assert np.load(tmp_path / "s/neuron/activations.npy").shape == (0, 2)
    assert list(pd.read_parquet(tmp_path / "s/documents.parquet")) == ["document"]
    assert manifest == read_manifest(tmp_path / "s")
    assert (manifest["format"], manifest["version"], manifest["hook"]) == (FORMAT, VERSION, "h")


def test_the_manifest_has_size_and_checksum_of_every_file(tmp_path: Path) -> None:
    manifest = written(tmp_path / "s").finish({})
    files = {p.relative_to(tmp_path / "s").as_posix(): p for p in (tmp_path / "s").rglob("*") if p.is_file()}
    assert set(manifest["files"]) == set(files) - {"manifest.json"}
    for name, entry in manifest["files"].items():
        content = files[name].read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_an_unfinished_store_is_no_store_and_is_begun_anew(tmp_path: Path) -> None:
    written(tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["s.part"]
    (tmp_path / "s.part" / "leftover.npy").write_bytes(b"half")
    manifest = written(tmp_path / "s").finish({})
    assert "leftover.npy" not in manifest["files"]
    assert not (tmp_path / "s" / "leftover.npy").exists()


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(BadInput, match="exists already"):
        StoreWriter(tmp_path / "s")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="can be written with --out"):
        StoreWriter(tmp_path / "file" / "s")


def test_a_number_that_does_not_fit_is_not_wrapped_around(tmp_path: Path) -> None:
    store = StoreWriter(tmp_path / "s")
    with pytest.raises(OverflowError, match="70000"):
        store.save("focus.npy", np.array([1, 70_000]), np.uint16)
    with pytest.raises(OverflowError):
        store.save("other.npy", np.array([-1]), np.uint8)


def test_a_name_is_written_once(tmp_path: Path) -> None:
    store = written(tmp_path / "s")
    with pytest.raises(ValueError, match="written twice"):
        store.text("vocab.json", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not the manifest of a context store"),
        ("{", "not the manifest of a context store"),
        ("[]", "format is not"),
        (json.dumps({"format": "sae-corpus", "version": 1}), "format is not"),
        (json.dumps({"format": FORMAT, "version": 2}), "version 2; this program knows version 1"),
    ],
)
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(BadInput, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)
