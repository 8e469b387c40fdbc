"""A store that cannot be trusted is refused when it is opened (or read), with one line that says which file and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.errors import BadStore
from autointerp.records import ContextStore
from autointerp.types import Kind
from tests.support.stores import refresh_manifest, write_store


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("sound"), blocks=16, random=8).path


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "store"))


def refusal(path: Path, *, verify: bool = False) -> str:
    with pytest.raises(BadStore) as caught:
        ContextStore.open(path, verify=verify)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert caught.value.exit_code == 2
    return message


def change(folder: Path, name: str, edit: Callable[[np.ndarray], Any]) -> None:
    """Damage an array in a way that sizes and checksums do not tell: the manifest is written again."""
    values = np.load(folder / name)
    edited = edit(values)
    np.save(folder / name, values if edited is None else edited)
    refresh_manifest(folder)


def test_no_folder(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nothing")


def test_not_a_store(tmp_path: Path) -> None:
    assert "not a context store" in refusal(tmp_path)


@pytest.mark.parametrize("content", ["{", "", "\xff\xfe", "[" * 100_000])
def test_a_manifest_that_is_not_json(store: Path, content: str) -> None:
    (store / "manifest.json").write_text(content, encoding="latin-1")
    assert "manifest.json: cannot be read as JSON" in refusal(store)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "sae-corpus", "version": 1}', "7"])
def test_another_format(store: Path, content: str) -> None:
    (store / "manifest.json").write_text(content)
    assert "not a context store" in refusal(store)


def test_a_newer_version(store: Path) -> None:
    refresh_manifest(store, version=2)
    assert "format version 2, and this program reads up to 1: update autointerp" in refusal(store)


@pytest.mark.parametrize("version", [0, None, "1", True, 1.0])
def test_a_version_that_is_none(store: Path, version: object) -> None:
    refresh_manifest(store, version=version)
    assert "no valid format version" in refusal(store)


@pytest.mark.parametrize("key", ["subject", "hook", "corpus", "window", "kinds"])
def test_a_manifest_that_lacks_something(store: Path, key: str) -> None:
    refresh_manifest(store, **{key: None})
    assert repr(key) in refusal(store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": {"gene": {"units": 1, "records": 1}}}, "'kinds' has an entry that cannot be used: 'gene'"),
        ({"kinds": {"feature": {"units": "6", "records": 1}}}, "'kinds' has an entry"),
        ({"kinds": {"feature": 7}}, "'kinds' has an entry"),
        ({"kinds": {"feature": {"units": -1, "records": 0}}}, "'kinds' has an entry"),
        ({"subject": {"name": ""}}, "the subject's name, the hook or the number of tokens of the corpus is missing"),
        ({"hook": ""}, "the subject's name, the hook or the number of tokens"),
        ({"dictionary": None}, "there are features and no dictionary is named"),
        ({"corpus": {"name": "toy"}}, "the number of tokens of the corpus is missing"),
        ({"dictionary": {"name": "-"}}, "no dictionary is named"),
        ({"window": 32}, r"int32 \[\d+, 64\], and int32 \[any, 32\] is expected"),
        ({"kinds": {"feature": {"units": 5, "records": 1}}}, "is expected"),
    ],
)
def test_a_manifest_that_contradicts_the_files(store: Path, change: dict[str, Any], message: str) -> None:
    refresh_manifest(store, **change)
    with pytest.raises(BadStore, match=message):
        ContextStore.open(store)


@pytest.mark.parametrize(
    "name",
    ["vocab.json", "documents.parquet", "contexts/tokens.npy", "feature/activations.npy", "neuron/statistics.parquet"],
)
def test_a_file_is_missing(store: Path, name: str) -> None:
    (store / name).unlink()
    assert f"{name}: the file is missing" in refusal(store)


@pytest.mark.parametrize("name", ["feature/activations.npy", "contexts/tokens.npy", "vocab.json", "neuron/random.npy"])
def test_a_file_was_cut_short(store: Path, name: str) -> None:
    content = (store / name).read_bytes()
    (store / name).write_bytes(content[:-1])
    message = refusal(store)
    assert name in message
    assert f"{len(content) - 1} bytes, and the manifest says {len(content)}" in message


def test_one_changed_bit_is_found_where_it_is_looked_for(store: Path) -> None:
    file = store / "feature/activations.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    ContextStore.open(store)
    assert "feature/activations.npy: the checksum is not the manifest's" in refusal(store, verify=True)


def test_a_file_name_cannot_leave_the_store(store: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"bytes": 1, "sha256": ""}
    (store / "manifest.json").write_text(json.dumps(manifest))
    assert "'../secret'" in refusal(store)


def put(index: int, value: int) -> Callable[[np.ndarray], None]:
    def edit(values: np.ndarray) -> None:
        values[index] = value

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("feature/offsets.npy", put(1, 10**6), "not ascending"),
        ("feature/offsets.npy", put(0, 1), "not ascending"),
        ("feature/offsets.npy", put(-1, 5), "not ascending"),
        ("feature/context.npy", put(3, 10**7), "an index lies outside"),
        ("feature/context.npy", put(3, -1), "an index lies outside"),
        ("random/context.npy", put(0, 10**7), "an index lies outside"),
        ("contexts/document.npy", put(0, 10**6), "an index lies outside"),
        ("contexts/length.npy", put(0, 65), "an index lies outside"),
        ("neuron/focus.npy", put(0, 64), "a focus lies outside its context"),
        ("feature/stratum.npy", put(0, 50), "an unknown stratum"),
        ("feature/stratum.npy", put(0, 101), "an unknown stratum"),
        ("contexts/position.npy", lambda values: values[:-1], "not as many rows"),
        ("random/focus.npy", lambda values: values[:-1], "not as many rows"),
        ("feature/histogram.npy", lambda values: values.astype(np.int32), "int32 .* and int64 .* is expected"),
        ("feature/activations.npy", lambda values: values[:, :9], r"is expected"),
        ("neuron/random.npy", lambda values: values[:-1], "is expected"),
    ],
)
def test_an_index_that_cannot_be(store: Path, name: str, edit: Callable[[np.ndarray], Any], message: str) -> None:
    change(store, name, edit)
    with pytest.raises(BadStore, match=message) as caught:
        ContextStore.open(store, verify=True)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "name", ["contexts/tokens.npy", "feature/statistics.parquet", "documents.parquet", "vocab.json"]
)
def test_a_file_that_is_something_else(store: Path, name: str) -> None:
    (store / name).write_bytes(b"not what you think")
    refresh_manifest(store)
    assert f"{name}: cannot be read" in refusal(store)


@pytest.mark.parametrize("words", ['{"a": 1}', "[1, 2]"])
def test_a_vocabulary_that_is_no_list_of_words(store: Path, words: str) -> None:
    (store / "vocab.json").write_text(words)
    refresh_manifest(store)
    assert "vocab.json: not a list of strings" in refusal(store)


def test_a_pickle_is_not_loaded(store: Path) -> None:
    np.save(store / "feature/histogram.npy", np.array([{}], dtype=object), allow_pickle=True)
    refresh_manifest(store)
    assert "feature/histogram.npy: cannot be read" in refusal(store)


def test_a_table_of_other_units(store: Path) -> None:
    shutil.copy(store / "neuron/statistics.parquet", store / "feature/statistics.parquet")
    refresh_manifest(store)
    assert "4 rows, and the manifest says 6 units" in refusal(store)


def test_a_token_that_is_not_in_the_vocabulary_is_found_on_reading(store: Path) -> None:
    change(store, "contexts/tokens.npy", lambda values: np.full_like(values, 10**6))
    opened = ContextStore.open(store)
    with pytest.raises(BadStore, match=r"tokens\.npy: a token is not in vocab\.json"):
        opened.pool(opened.unit(Kind.FEATURE, 0))


def test_an_activation_that_is_no_number_is_found_on_reading(store: Path) -> None:
    change(store, "feature/activations.npy", lambda values: np.full_like(values, np.nan))
    opened = ContextStore.open(store)
    with pytest.raises(BadStore, match=r"an activation of .* is not a finite number"):
        opened.pool(opened.unit(Kind.FEATURE, 0))
