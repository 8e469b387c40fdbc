"""A page of a run that is too large for one: what is in it, and what it says of that."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autointerp.results import excerpt, report
from autointerp.results.details import Head
from autointerp.results.excerpt import notable, sampled
from autointerp.results.report import write_report
from autointerp.results.standing import standing
from autointerp.results.tables import Measured
from autointerp.types import Interval, Kind, Provenance, Role, Score, Scored, UnitId
from tests.support.results import write_scores

N_UNITS = 60


def unit(number: int) -> UnitId:
    kind = Kind.FEATURE if number < N_UNITS - 6 else Kind.NEURON
    return UnitId("toy", "hook", kind, "sae" if kind is Kind.FEATURE else None, number)


def scored(number: int, role: Role, value: float) -> Measured:
    outcome = Scored(value, Interval(value - 0.1, value + 0.1, 0.95, "made up"), 10, 160)
    made = (Provenance("simulate@1", model_asked="m"),)
    return Measured(Score(unit(number), "openai.simulation", 1, "pearson", outcome, role, 10, 0, "t", made), 0.01, True)


def line(number: int, role: Role = Role.EXPLANATION) -> dict[str, Any]:
    name = unit(number)
    told = {"unit": str(name), "kind": name.kind.value, "index": number, "preset": "openai", "role": role.value}
    return {**told, "explanation": {"text": "t"}, "scale": "0-9", "statistics": {}, "records": [{"context": number}]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 units of which unit n has place 60 - n; the control gap is largest for units 20 and 21."""
    rows = [scored(n, Role.EXPLANATION, n / 100) for n in range(N_UNITS)]
    rows += [scored(n, Role.OTHER_EXPLANATION, -0.9 if n in (20, 21) else n / 100) for n in range(N_UNITS)]
    write_scores(tmp_path, rows)
    lines = [line(n, role) for n in range(N_UNITS) for role in (Role.OTHER_EXPLANATION, Role.EXPLANATION)]
    (tmp_path / "units.jsonl.gz").write_bytes(
        gzip.compress(b"".join(json.dumps(one).encode() + b"\n" for one in lines))
    )
    manifest = {
        "format": "autointerp-run",
        "version": 1,
        "name": "large",
        "seed": 0,
        "statistics": {"level": 0.95, "resamples": 100},
        "first_preset": "openai",
        "presets": {"openai": {"source": "", "settings": {"scorer": "simulation"}, "changed_from_paper": {}}},
        **{key: [] for key in ("stores", "models")},
        **{key: {} for key in ("prompts", "calls", "versions")},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    for module, name, value in ((excerpt, "LIMIT", 10), (report, "LIMIT", 10), (excerpt, "SAMPLE", 4),
                                (report, "SAMPLE", 4), (report, "PLACES", 5)):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    return tmp_path


def page(folder: Path) -> tuple[str, dict[str, Any]]:
    text = write_report(folder).read_text(encoding="utf-8")
    packed = re.search(r'id="data">([^<]*)<', text)
    assert packed is not None
    return text, json.loads(gzip.decompress(base64.b64decode(packed.group(1))))


def test_a_large_page_shows_the_extremes_and_a_sample_and_says_so(folder: Path) -> None:
    text, data = page(folder)
    shown = {one["index"] for one in data["units"]}
    assert {59, 58, 0, 1, 20, 21} <= shown  # the best, the worst, the largest gaps
    assert len(shown) == len(data["units"]) <= 10
    assert {one["kind"] for one in data["units"]} == {"feature", "neuron"}
    for one in data["units"]:
        assert [(s["role"], s["value"]) for s in one["scores"]][-1] == ("explanation", one["index"] / 100)
        assert one["records"] == [{"context": one["index"]}]
        assert "other" in one
    said = re.sub(r"<[^>]*>", "", text)
    assert f"{len(shown)} of 60 units are shown here with their contexts" in said
    assert "units.jsonl.gz holds all" in said
    assert "The ranking goes to place 5 of 60" in said
    assert "ranking.csv holds all" in said
    ranks = {place["rank"]: place["unit"] for place in data["ranking"]}
    assert {1, 2, 3, 4, 5} <= set(ranks)
    assert {ranks[60 - number] for number in shown} == {str(unit(number)) for number in shown}
    assert len(data["ranking"]) == len(ranks) <= 15


def test_a_page_that_holds_all_units_says_nothing_of_limits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (excerpt, report):
        monkeypatch.setattr(module, "LIMIT", N_UNITS)
    text, data = page(folder)
    assert len(data["units"]) == N_UNITS
    assert "are shown here" not in text


def head(one: Mapping[str, Any]) -> Head:
    return Head(one["unit"], one["kind"], one["preset"], one["role"])


def test_the_sample_holds_every_group_and_depends_on_names_alone() -> None:
    lines = [line(n) for n in range(3000)] + [line(n, Role.SHUFFLED_WEIGHTS) for n in range(20)]
    lines += [{**line(n), "preset": "tm"} for n in range(600)]
    found, again = sampled(map(head, lines)), sampled(map(head, lines[::-1]))
    assert found == again
    assert found.n_units == 3620
    groups = [(one["preset"], one["role"], one["kind"]) for one in lines if one["unit"] in found.chosen[one["preset"]]]
    assert set(groups) == {(one["preset"], one["role"], one["kind"]) for one in lines}
    assert sum(len(chosen) for chosen in found.chosen.values()) <= excerpt.SAMPLE
    few = sampled(map(head, lines[:40]))
    assert few.chosen["openai"] == {one["unit"] for one in lines[:40]}


def test_no_more_notable_units_than_asked_for(folder: Path) -> None:
    ranking = standing(folder, "openai.simulation", Role.EXPLANATION, 0.95)
    # The third by gap is the first of those without one, which is among the best already.
    assert notable(ranking, 9) == {str(unit(number)) for number in (59, 58, 57, 0, 1, 2, 20, 21)}
    assert len(notable(ranking, 1000)) == N_UNITS
