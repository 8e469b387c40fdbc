"""The helpers that all rooms of the torch wing share: draws that stay what they were, and files that are whole."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest

import sae
from sae.files import checksum, content_entry, file_entry, render_json, sync, whole_file, write_atomically
from sae.seeds import generator


def test_a_seed_and_a_purpose_give_the_numbers_they_always_gave() -> None:
    """Every trained subject and dictionary depends on these draws."""
    assert generator(0, "order of blocks").integers(0, 1000, 4).tolist() == [622, 151, 447, 605]
    assert generator(7, "data order", 3).integers(0, 1000, 4).tolist() == [642, 362, 431, 256]


def test_another_purpose_or_index_is_another_draw_and_no_global_generator_takes_part() -> None:
    np.random.seed(1)  # noqa: NPY002
    drawn = [generator(0, *what).random() for what in [("a",), ("b",), ("a", 1), ("a", 2)]]  # type: ignore[arg-type]
    assert len(set(drawn)) == 4
    np.random.seed(2)  # noqa: NPY002
    assert generator(0, "a").random() == drawn[0]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_atomically(path, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("file", b"new")]


def test_a_stream_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(path) as stream:
        stream.write(b"old")

    def fails() -> None:
        with whole_file(path) as stream:
            stream.write(b"ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fails()
    assert path.read_bytes() == b"old"
    sync(path)
    sync(tmp_path)


def test_no_module_keeps_a_copy_of_these_helpers() -> None:
    """Were there several, a harvest and a training could differ in what survives a kill."""
    wing = Path(str(sae.__file__)).parent
    copies = re.compile(r"os\.replace|file_digest|os\.open\(")
    users = {path.relative_to(wing).as_posix() for path in wing.rglob("*.py") if copies.search(path.read_text("utf-8"))}
    assert users == {"files.py"}


def test_entries_hold_checksum_and_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = {"sha256": hashlib.sha256(b"abc").hexdigest(), "bytes": 3}
    assert file_entry(tmp_path / "file") == content_entry(b"abc") == expected
    assert checksum(tmp_path / "file") == expected["sha256"]


def test_json_is_rendered_the_same_way_and_holds_no_not_a_number() -> None:
    assert render_json({"é": [1]}) == '{\n  "é": [\n    1\n  ]\n}\n'.encode()
    with pytest.raises(ValueError, match="Out of range"):
        render_json({"x": float("nan")})
