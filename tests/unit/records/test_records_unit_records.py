"""The project's own file of one unit's records: nothing that a split depends on is lost in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.records import ContextStore, SplitPlan, read_records, split_pool, split_unit, write_unit_records
from autointerp.types import Kind, UnitRecord
from tests.support.stores import PLANTED, write_store

PLAN = SplitPlan(
    9,
    explain={"top": 4, "slices": 1, "random": 2},
    score={"top": 4, "slices": 1, "random": 4, "out_of_context": 4},
    minimum=5,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ContextStore:
    return ContextStore.open(write_store(tmp_path_factory.mktemp("store"), blocks=60, random=30).path)


@pytest.fixture(params=["dense", "hostile"])
def written(request: pytest.FixtureRequest, store: ContextStore, tmp_path: Path) -> Path:
    path = tmp_path / "unit.json"
    write_unit_records(path, store.pool(store.unit(Kind.FEATURE, PLANTED[request.param])))
    return path


def test_a_unit_read_from_its_file_is_split_as_it_is_in_the_store(store: ContextStore, written: Path) -> None:
    pool = read_records(written)
    from_file, from_store = split_pool(pool, PLAN, 4), split_unit(store, pool.unit, PLAN, 4)
    assert isinstance(from_file, UnitRecord)
    assert isinstance(from_store, UnitRecord)
    for split in ("explain", "calibrate", "score"):
        pairs = zip(getattr(from_file, split).records, getattr(from_store, split).records, strict=True)
        for one, other in pairs:
            assert (one.context.id, one.context.domain) == (other.context.id, other.context.domain)
            assert (one.focus, one.stratum, one.cluster) == (other.focus, other.stratum, other.cluster)
            assert (one.activations == other.activations).all()


def test_statistics_come_back_to_the_last_bit(store: ContextStore, written: Path) -> None:
    pool = read_records(written)
    expected = store.statistics(pool.unit)
    for name in ("n_tokens", "fired", "maximum", "mean", "mean_square", "histogram_scale", "top_tokens", "top_logits"):
        assert getattr(pool.statistics, name) == getattr(expected, name)
    for name in ("interval_edges", "interval_tokens", "histogram"):
        assert np.array_equal(getattr(pool.statistics, name), getattr(expected, name))
        assert not getattr(pool.statistics, name).flags.writeable


def test_a_neuron_record_is_read_too(tmp_path: Path) -> None:
    content = {
        "neuron_id": {"layer_index": 1, "neuron_index": 2},
        "random_sample": [{"tokens": ["a"], "activations": [1]}],
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert str(read_records(tmp_path / "x.json", subject="gpt2").unit) == "gpt2/blocks.1.mlp.hook_post/neuron/-/2"


def damaged(path: Path, *keys: str | int, value: Any) -> str:
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput) as caught:
        read_records(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["version"], 2, "format version 2, and this program reads 1"),
        (["unit"], "a/b", "not a unit"),
        (["unit"], None, "not a unit"),
        (["records"], {}, "'records' is not a list"),
        (["records", 1, "stratum"], "MIDDLE", "records[1]: unknown stratum 'MIDDLE'"),
        (["records", 1, "focus"], 64, "focus 64"),
        (["records", 1, "focus"], None, "focus None"),
        (["records", 1, "position"], -5, "position -5"),
        (["records", 1, "tokens"], ["a"], "1 tokens, 64 activations"),
        (["records", 1, "activations", 2], None, "records[1].activations: None is not a finite number"),
        (["statistics"], None, "statistics: missing"),
        (["statistics", "fired"], "many", "statistics.fired: 'many' is not a finite number"),
        (["statistics", "histogram"], 3, "statistics.histogram: not a list of numbers"),
        (["statistics", "top_logits"], [["a"]], "statistics.top_logits: not a list of [token, weight]"),
    ],
)
def test_a_damaged_file_is_refused(written: Path, keys: list[str | int], value: Any, message: str) -> None:
    assert message in damaged(written, *keys, value=value)


def test_a_file_is_replaced_whole_or_not_at_all(
    written: Path, store: ContextStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_unit_records(written, store.pool(store.unit(Kind.FEATURE, PLANTED["digits"])))
    assert written.read_bytes() == before
    assert [file.name for file in written.parent.iterdir()] == ["unit.json"]
