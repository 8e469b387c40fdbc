"""OpenAI's NeuronRecord JSON in the variants that are about, from files written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.records import ContextStore, census, lmen_plan, read_neuron_record, split_pool, write_neuron_record
from autointerp.types import Kind, Reason, Stratum, UnitRecord, Unscored
from tests.support.stores import HOSTILE, PLANTED, write_store

# As the released files of GPT-2 XL have it, cut down.
RELEASED = {
    "dataclass_name": "NeuronRecord",
    "neuron_id": {"dataclass_name": "NeuronId", "layer_index": 9, "neuron_index": 6236},
    "random_sample": [
        {"dataclass_name": "ActivationRecord", "tokens": ["a", " b", " c"], "activations": [0.0, -0.1, 0.5]},
        {"dataclass_name": "ActivationRecord", "tokens": ["x", " y", " z"], "activations": [0.0, 0.0, 0.0]},
    ],
    "random_sample_by_quantile": [[{"tokens": ["q"], "activations": [1.0]}], []],
    "quantile_boundaries": [0.99],
    "mean": 0.25,
    "variance": 0.5,
    "skewness": None,
    "kurtosis": 3.0,
    "most_positive_activation_records": [
        {"dataclass_name": "ActivationRecord", "tokens": [" the", " cat", "!"], "activations": [0.1, 6.5, -0.2]},
        {"dataclass_name": "ActivationRecord", "tokens": [" cat", " food"], "activations": [3, 0.0]},
    ],
}


def saved(folder: Path, **changes: Any) -> Path:
    content = {key: value for key, value in {**RELEASED, **changes}.items() if value != "left out"}
    path = folder / "record.json"
    path.write_text(json.dumps(content))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_neuron_record(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_released_file(tmp_path: Path) -> None:
    pool = read_neuron_record(saved(tmp_path), subject="gpt2-xl")
    assert str(pool.unit) == "gpt2-xl/blocks.9.mlp.hook_post/neuron/-/6236"
    assert list(pool.strata) == [Stratum.TOP, Stratum.TOP, Stratum.RANDOM, Stratum.RANDOM]
    records = [pool.record(row, 0, int(pool.lengths[row]), "c") for row in range(4)]
    assert [record.context.tokens for record in records] == [
        (" the", " cat", "!"),
        (" cat", " food"),
        ("a", " b", " c"),
        ("x", " y", " z"),
    ]
    assert [record.activations.tolist() for record in records][:2] == [[0.1, 6.5, -0.2], [3.0, 0.0]]
    # A top record is about its maximum; a random one is not chosen for any activation.
    assert [record.focus for record in records] == [1, 0, 1, 1]
    assert {record.context.position for record in records} == {-1}


def test_statistics_as_far_as_they_are_known(tmp_path: Path) -> None:
    statistics = read_neuron_record(saved(tmp_path)).statistics
    assert (statistics.mean, statistics.mean_square) == (0.25, 0.5 + 0.25**2)  # from the moments
    assert (statistics.n_tokens, statistics.fired) == (6, 1)  # in the random records, the only fair sample
    assert statistics.maximum == 6.5
    assert statistics.interval_tokens.tolist() == [1] + [0] * 12  # 13 slices of 0.5, and 0.5 ends the lowest
    assert statistics.histogram.sum() == 1


@pytest.mark.parametrize("moment", ["left out", None, float("nan")])
def test_moments_that_are_not_known_are_counted(tmp_path: Path, moment: Any) -> None:
    statistics = read_neuron_record(saved(tmp_path, mean=moment, variance=moment)).statistics
    sample = np.array([0.0, -0.1, 0.5, 0.0, 0.0, 0.0])
    assert statistics.mean == pytest.approx(sample.mean())
    assert statistics.mean_square == pytest.approx(np.square(sample).mean())


@pytest.mark.parametrize(
    "variant",
    [
        {"neuron_id": {"layer_index": 9, "neuron_index": 6236}},
        {"neuron_id": {"layer_index": "9", "neuron_index": "6236"}},
        {"neuron_id": {"layer": 9, "idx": 6236}},
        {"neuron_id": {"layer": "9", "unit": 6236}},
        {"neuron_id": "left out", "layer": "9", "idx": 6236},
        {"neuron_id": "left out", "layer": 9, "unit": 6236},
        {"neuron_id": "left out", "unit": {"layer": 9, "idx": 6236}},
        {"dataclass_name": "left out"},
        {"dataclass_name": "left out", "something_new": {"deep": [1, 2]}},
        {"random_sample_by_quantile": "left out", "quantile_boundaries": "left out", "kurtosis": "left out"},
    ],
)
def test_known_variants_are_the_same_record(tmp_path: Path, variant: dict[str, Any]) -> None:
    plain, other = read_neuron_record(saved(tmp_path)), read_neuron_record(saved(tmp_path, **variant))
    assert other.unit == plain.unit
    assert (other.tokens == plain.tokens).all()
    assert (other.activations == plain.activations).all()


def test_records_without_dataclass_name(tmp_path: Path) -> None:
    bare = [{"tokens": ["a"], "activations": [2.0]}]
    pool = read_neuron_record(saved(tmp_path, most_positive_activation_records=bare, random_sample="left out"))
    assert (len(pool), pool.statistics.n_tokens, pool.statistics.fired) == (1, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataclass_name": "NeuronSimulationResults"}, "holds a NeuronSimulationResults, not a NeuronRecord"),
        ({"neuron_id": "left out"}, "the neuron is not named"),
        ({"neuron_id": {"layer_index": 9}}, "the neuron is not named"),
        ({"neuron_id": {"layer_index": -1, "neuron_index": 3}}, "the layer's number is -1"),
        ({"neuron_id": {"layer_index": 1, "neuron_index": True}}, "the neuron's number is True"),
        ({"neuron_id": {"layer_index": 1, "neuron_index": 2.5}}, "the neuron's number is 2.5"),
        ({"random_sample": [], "most_positive_activation_records": []}, "holds no records"),
        ({"random_sample": 7}, "random_sample is not a list of records"),
        ({"random_sample": ["a"]}, "random_sample is not a list of records"),
        ({"random_sample": [{"tokens": "abc", "activations": [1]}]}, "random_sample[0].tokens: not a list of strings"),
        ({"random_sample": [{"tokens": [], "activations": []}]}, "random_sample[0].tokens: not a list of strings"),
        ({"random_sample": [{"tokens": ["a", 1], "activations": [1, 2]}]}, "random_sample[0].tokens"),
        ({"random_sample": [{"tokens": ["a"]}]}, "random_sample[0].activations: not a list of numbers"),
        ({"random_sample": [{"tokens": ["a"], "activations": [None]}]}, "None is not a finite number"),
        ({"random_sample": [{"tokens": ["a"], "activations": ["1"]}]}, "'1' is not a finite number"),
        ({"random_sample": [{"tokens": ["a"], "activations": [float("nan")]}]}, "nan is not a finite number"),
        ({"random_sample": [{"tokens": ["a"], "activations": [float("inf")]}]}, "inf is not a finite number"),
        ({"random_sample": [{"tokens": ["a", "b"], "activations": [1]}]}, "1 activations for 2 tokens"),
        (
            {"random_sample": [{"tokens": ["a", "b"], "activations": [1, 2, 3]}]},
            "records of token pairs (attention heads) cannot be read",
        ),
    ],
)
def test_what_is_no_neuron_record(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert message in refusal(saved(tmp_path, **change))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b"null", b'{"tokens": []}', b"[" * 100_000])
def test_what_is_no_record_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    refusal(path)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nothing.json")
    assert "cannot be read" in refusal(tmp_path)


# The same way to splits as from a store.


def lmen_file(folder: Path, n_top: int, n_random: int) -> Path:
    def listed(name: str, count: int, value: float) -> list[dict[str, Any]]:
        return [
            {"tokens": [f"{name}{n}.{place}" for place in range(64)], "activations": [value / (n + 1)] * 64}
            for n in range(count)
        ]

    return saved(
        folder, most_positive_activation_records=listed("t", n_top, 9.0), random_sample=listed("r", n_random, 0.0)
    )


def test_a_file_is_split_as_the_published_code_splits_it(tmp_path: Path) -> None:
    pool = read_neuron_record(lmen_file(tmp_path, 20, 15))
    found = split_pool(pool, lmen_plan(pool), seed=3)
    assert isinstance(found, UnitRecord)
    names = [
        [record.context.tokens[0].split(".")[0] for record in part.records]
        for part in (found.explain, found.calibrate, found.score)
    ]
    assert names == [
        ["t0", "t4", "t8", "t12", "t16"],
        ["t1", "t5", "t9", "t13", "t17", "r0", "r3", "r6", "r9", "r12"],
        ["t2", "t6", "t10", "t14", "t18", "r1", "r4", "r7", "r10", "r13"],
    ]
    assert found.explain.maximum == 9.0


@pytest.mark.parametrize(
    ("n_top", "n_random", "scored"),
    [(8, 7, {"top": 2, "random": 2}), (3, 2, {"top": 1, "random": 1}), (4, 0, {"top": 1})],
)
def test_a_smaller_file_gives_smaller_splits(tmp_path: Path, n_top: int, n_random: int, scored: dict[str, int]) -> None:
    pool = read_neuron_record(lmen_file(tmp_path, n_top, n_random))
    found = split_pool(pool, lmen_plan(pool), seed=0)
    assert isinstance(found, UnitRecord)
    assert census(found.score.records) == scored


def test_a_file_with_one_record_cannot_be_split(tmp_path: Path) -> None:
    pool = read_neuron_record(lmen_file(tmp_path, 1, 0))
    assert split_pool(pool, lmen_plan(pool), 0) == Unscored(Reason.TOO_FEW_CONTEXTS, "top: 1 of 3")


def test_a_silent_neuron(tmp_path: Path) -> None:
    silent = [{"tokens": ["a", "b"], "activations": [0.0, -1.0]}]
    pool = read_neuron_record(saved(tmp_path, most_positive_activation_records=silent, random_sample=silent))
    assert split_pool(pool, lmen_plan(pool), 0) == Unscored(Reason.NEVER_FIRES, "silent on 2 tokens")


def test_a_neuron_that_is_silent_in_its_random_records_is_not_silent(tmp_path: Path) -> None:
    pool = read_neuron_record(lmen_file(tmp_path, 20, 15))
    assert pool.statistics.fired == 0
    assert isinstance(split_pool(pool, lmen_plan(pool), 0), UnitRecord)


# Writing.


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pool = read_neuron_record(saved(tmp_path), subject="gpt2-xl")
    write_neuron_record(tmp_path / "again.json", pool)
    again = read_neuron_record(tmp_path / "again.json", subject="gpt2-xl")
    assert again.unit == pool.unit
    assert again.texts.vocabulary == pool.texts.vocabulary
    assert (again.tokens == pool.tokens).all()
    assert (again.activations == pool.activations).all()
    assert (again.statistics.mean, again.statistics.mean_square) == pytest.approx((0.25, 0.5625))


def test_a_unit_of_a_store_is_written_as_the_published_reader_wants_it(tmp_path: Path) -> None:
    store = ContextStore.open(write_store(tmp_path / "store", blocks=40, random=10).path)
    unit = store.unit(Kind.FEATURE, PLANTED["hostile"])
    write_neuron_record(tmp_path / "unit.json", store.pool(unit))
    content = json.loads((tmp_path / "unit.json").read_text())
    # The published reader builds its dataclasses from exactly these keys and fails on any other.
    assert set(content) == set(RELEASED)
    assert set(content["neuron_id"]) == {"dataclass_name", "layer_index", "neuron_index"}
    assert {frozenset(record) for record in content["random_sample"]} == {
        frozenset({"dataclass_name", "tokens", "activations"})
    }
    assert (content["neuron_id"]["layer_index"], content["neuron_id"]["neuron_index"]) == (0, PLANTED["hostile"])
    tokens = {token for record in content["most_positive_activation_records"] for token in record["tokens"]}
    assert "\ud800" in tokens
    assert tokens.issuperset(HOSTILE)
    again = read_neuron_record(tmp_path / "unit.json")
    assert census_of(again) == {"TOP": len(store.pool(unit).rows(Stratum.TOP)), "RANDOM": 10}


def census_of(pool: Any) -> dict[str, int]:
    strata, counts = np.unique(pool.strata, return_counts=True)
    return {Stratum(int(code)).name: int(count) for code, count in zip(strata, counts, strict=True)}


def test_a_hook_without_a_layer_cannot_be_written(tmp_path: Path) -> None:
    store = ContextStore.open(write_store(tmp_path / "store", blocks=24, random=8).path)
    pool = store.pool(store.unit(Kind.NEURON, 0))
    with pytest.raises(BadInput, match="names a layer"):
        write_neuron_record(tmp_path / "x.json", replace(pool, unit=replace(pool.unit, hook="embed")))
    assert not (tmp_path / "x.json").exists()
