"""A run's folder, written while units come: the same bytes in any order, all or nothing, and no number that is none."""

from __future__ import annotations

import gzip
import json
import marshal
import math
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from autointerp import registry
from autointerp.errors import BadInput
from autointerp.records import ContextStore
from autointerp.results import Finished, Measured, RunWriter, read_details, read_scores, spool, summarise, tables
from autointerp.results.details import Head, detail, read_heads
from autointerp.results.manifest import read_manifest
from autointerp.results.reading import score_batches
from autointerp.types import Interval, Kind, Provenance, Reason, Role, Score, Scored, UnitId, Unscored
from tests.support.method import make_record, make_unit_record

DEMO = Path(__file__).parents[3] / "results" / "demo"
UNITS = [UnitId("toy", "hook", Kind.FEATURE, "sae", n) for n in range(12)]
UNITS += [UnitId("toy", "hook", Kind.NEURON, None, n) for n in range(12)]
STORE = {
    "subject": {"name": "toy", "fingerprint": "0"},
    "hook": "hook",
    "corpus": {"name": "toy", "tokens": 100},
    "dictionary": {"name": "sae"},
    "precision": "float32",
}


def measured(unit: UnitId, role: Role, value: float, metric: str = "pearson", **changes: Any) -> Measured:
    provenance = (
        Provenance("simulate@1", "simulate@1", "hash", "openai", "m", "m-1", request_keys=(f"{unit} {role}",)),
    )
    outcome = Scored(value, Interval(value - 0.1, value + 0.05, 0.95, "made up"), 10, 160)
    score = Score(unit, "openai.simulation", 1, metric, outcome, role, 10, 0, f"words for {unit.index}", provenance)
    return Measured(replace(score, **changes), 0.01, metric == "pearson")


def rows() -> list[Measured]:
    lost = Unscored(Reason.REFUSAL, "I cannot")
    found = [measured(unit, Role.EXPLANATION, 0.02 * n, metric) for n, unit in enumerate(UNITS)
             for metric in ("spearman", "pearson")]  # fmt: skip
    found += [measured(unit, Role.OTHER_EXPLANATION, 0.01) for unit in UNITS[:-1]]
    return [*found, measured(UNITS[-1], Role.OTHER_EXPLANATION, 0, outcome=lost, attempted=0, provenance=())]


def lines() -> list[dict[str, Any]]:
    return [
        detail(make_unit_record([make_record(["a", "b"], [1, 0])], [], unit), "openai", role, Unscored(Reason.REFUSAL))
        for unit in UNITS
        for role in (Role.EXPLANATION, Role.OTHER_EXPLANATION)
    ]


def finished() -> Finished:
    job = {"name": "by hand", "seed": 3, "statistics": {"level": 0.95, "resamples": 100}}
    store = cast(ContextStore, SimpleNamespace(fingerprint="0", manifest=STORE))
    return Finished(job, [registry.find("presets", "openai")], [store], {})


def write(folder: Path, seed: int) -> dict[str, Any]:
    """The run with its rows and lines in an order that depends on the seed."""
    shuffled_rows, shuffled_lines = rows(), lines()
    random.Random(seed).shuffle(shuffled_rows)
    random.Random(seed).shuffle(shuffled_lines)
    folder.mkdir()
    with RunWriter(folder) as writer:
        for row in shuffled_rows:
            writer.add(row)
        for line in shuffled_lines:
            writer.add_detail(line)
        return writer.finish(finished())


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time and say nothing here."""
    monkeypatch.setattr("autointerp.results.writer.write_figures", lambda folder, summary: [])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    write(folder, seed=1)
    return folder


def test_the_same_units_give_the_same_bytes_in_whatever_order_they_come(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_HELD_BYTES", 3000)
    write(tmp_path / "two", seed=2)
    for name in ("scores.parquet", "units.jsonl.gz", "manifest.json", "ranking.csv", "report.html"):
        assert (run / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_a_table_of_one_row_group_has_the_bytes_of_one_that_is_written_whole(tmp_path: Path) -> None:
    """Rows of the demo, shuffled, spooled and streamed, against pyarrow with the whole table in memory."""
    table = pq.read_table(DEMO / "scores.parquet", filters=[("scorer", "in", ["openai.simulation", "openai.constant"])])
    pq.write_table(table.combine_chunks(), tmp_path / "whole.parquet", compression="zstd")
    rows = table.to_pylist()
    random.Random(0).shuffle(rows)
    with closing(tables.ScoreRows(tmp_path)) as kept:
        for row in rows:
            key = (row["scorer"], row["role"], row["kind"], row["unit"], not row["primary"], row["metric"])
            kept._spool.add(key, marshal.dumps(list(row.values())))
        with tables.atomically(tmp_path / "scores.parquet") as file:
            kept.write(file)
    assert len(rows) > 3 * 4096
    assert (tmp_path / "scores.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_rows_are_in_their_canonical_order_in_groups_of_bounded_size(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_BATCH_ROWS", 8)
    monkeypatch.setattr(tables, "_GROUP_ROWS", 16)
    write(tmp_path / "small", seed=3)
    file = pq.ParquetFile(tmp_path / "small" / "scores.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [16] * 4 + [8]
    table, expected = file.read(), pq.read_table(run / "scores.parquet")
    assert table.equals(expected)
    columns = (table[name].to_pylist() for name in ("scorer", "role", "kind", "unit", "primary", "metric"))
    keys = [(*key[:4], not key[4], key[5]) for key in zip(*columns, strict=True)]
    assert keys == sorted(keys)
    others = [name for batch in score_batches(tmp_path / "small", ["role"], "tm.other") for name in batch["role"]]
    assert others == []


def test_what_was_written_is_what_is_read(run: Path) -> None:
    frame = read_scores(run)
    assert len(frame) == len(rows()) == 72
    assert list(read_scores(run, ["value", "unit"]).columns) == ["value", "unit"]
    details = list(read_details(run))
    assert len(details) == 48
    heads = list(read_heads(run))
    assert heads == [Head(one["unit"], one["kind"], one["preset"], one["role"]) for one in details]
    assert list(read_details(run, lambda head: head == heads[7])) == [details[7]]
    manifest = read_manifest(run)
    assert manifest["models"] == [{"provider": "openai", "asked": "m", "served": "m-1"}]
    assert manifest["prompts"] == {"simulate@1": "hash"}
    assert manifest["coverage"] == {
        "openai.simulation/control_other_explanation/feature": {"attempted": 12, "scored": 12, "unscored": {}},
        "openai.simulation/control_other_explanation/neuron": {
            "attempted": 12,
            "scored": 11,
            "unscored": {"refusal": 1},
        },
        "openai.simulation/explanation/feature": {"attempted": 12, "scored": 12, "unscored": {}},
        "openai.simulation/explanation/neuron": {"attempted": 12, "scored": 12, "unscored": {}},
    }


def test_what_a_line_is_about_is_read_whatever_its_texts_say_and_whichever_way_it_is_written(tmp_path: Path) -> None:
    hostile = {**lines()[0], "unit": 'a","explanation":{"text":"b/1', "preset": ',"explanation":'}
    for separators in ((",", ":"), (", ", ": ")):
        for line in (hostile, dict(reversed(hostile.items()))):
            with gzip.open(tmp_path / "units.jsonl.gz", "wt", encoding="utf-8") as file:
                file.write(json.dumps(line, separators=separators) + "\n")
            assert list(read_heads(tmp_path)) == [Head(hostile["unit"], line["kind"], hostile["preset"], line["role"])]
    for damaged in ('{"unit":"a","explanation":1}', '["unit"]', '{"unit":"a"'):
        with gzip.open(tmp_path / "units.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(damaged + "\n")
        with pytest.raises(BadInput, match="damaged"):
            list(read_heads(tmp_path))


@pytest.mark.usefixtures("no_figures")
def test_finishing_gives_the_summary_of_the_folder(tmp_path: Path) -> None:
    summary = write(tmp_path / "run", seed=4)
    assert summary == summarise(tmp_path / "run")
    short = summarise(tmp_path / "run", places=3)
    assert short["ranking"] == summary["ranking"][:3]
    assert {**short, "ranking": 0, "rankings": 0} == {**summary, "ranking": 0, "rankings": 0}


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, OSError])
def test_a_run_that_is_not_finished_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None
) -> None:
    monkeypatch.setattr(spool, "_HELD_BYTES", 1000)
    (tmp_path / "scores.parquet").write_bytes(b"of the run before")

    def interrupted() -> None:
        with RunWriter(tmp_path) as writer:
            for row in rows():
                writer.add(row)
            for line in lines():
                writer.add_detail(line)
            if error is not None:
                raise error

    if error is None:
        interrupted()
    else:
        with pytest.raises(error):
            interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]
    assert (tmp_path / "scores.parquet").read_bytes() == b"of the run before"


def test_an_error_while_tables_are_written_changes_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {name: f"{name} before".encode() for name in ("scores.parquet", "units.jsonl.gz", "manifest.json")}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)

    def full(path: Path, mode: str) -> Iterator[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with RunWriter(tmp_path) as writer:
        for row in rows():
            writer.add(row)
        writer.add_detail(lines()[0])
        with pytest.raises(OSError, match="No space left"):
            writer.finish(finished())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "scores.parquet.part").write_bytes(b"half")
    (tmp_path / "mine.part").write_bytes(b"of someone else")
    with RunWriter(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["mine.part"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_table_holds_a_number_that_is_none(tmp_path: Path, bad: float) -> None:
    row = measured(UNITS[0], Role.EXPLANATION, 0.5)
    line = lines()[0]
    line["statistics"]["maximum"] = bad
    endless = Scored(0.5, Interval(-math.inf, math.inf), 10, 160)
    with RunWriter(tmp_path) as writer:
        with pytest.raises(ValueError, match=r"toy/hook/feature/sae/0, openai\.simulation, pearson: density is "):
            writer.add(replace(row, density=bad))
        with pytest.raises(ValueError, match="ci_low is -inf"):
            writer.add(replace(row, score=replace(row.score, outcome=endless)))
        with pytest.raises(ValueError, match="JSON"):
            writer.add_detail(line)


def test_half_a_surrogate_pair_from_a_model_does_not_lose_the_run(tmp_path: Path) -> None:
    """JSON can escape it, UTF-8 and hence Parquet cannot hold it."""
    told = json.loads(r'"words \ud83d for \ud83d\ude00"')
    with closing(tables.ScoreRows(tmp_path)) as kept:
        kept.add(measured(UNITS[0], Role.EXPLANATION, 0.5, explanation=told))
        with tables.atomically(tmp_path / "scores.parquet") as file:
            kept.write(file)
    (text,) = read_scores(tmp_path, ["explanation"])["explanation"]
    assert text == "words \ufffd for \U0001f600"


def test_a_table_of_another_version_and_a_damaged_one_are_refused(run: Path, tmp_path: Path) -> None:
    table = pq.read_table(run / "scores.parquet")
    pq.write_table(table.drop_columns(["density"]), tmp_path / "scores.parquet")
    with pytest.raises(BadInput, match="lacks the column 'density'"):
        read_scores(tmp_path, ["value"])
    (tmp_path / "scores.parquet").write_bytes((run / "scores.parquet").read_bytes()[:-100])
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        read_scores(tmp_path)
