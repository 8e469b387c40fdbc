"""What a person reads of a run: every number under its own heading, and every failure with its reason."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.results import failures, show_text, summarise
from autointerp.results.details import detail
from autointerp.results.manifest import read_manifest
from autointerp.results.report import write_report
from autointerp.results.standing import write_ranking
from autointerp.results.tables import Measured
from autointerp.types import Interval, Kind, Outcome, Provenance, Reason, Role, Score, Scored, UnitId, Unscored
from tests.support.method import make_record, make_statistics, make_unit_record
from tests.support.results import write_scores

FEATURES = [0.91, 0.62, 0.27, Unscored(Reason.NO_EXPLANATION, "parse_failure: the reply has 2 lines")]
NEURONS = [0.44, 0.05, 0.11, Unscored(Reason.NEVER_FIRES, "silent on 100 tokens")]
LENT = [0.21, 0.12, 0.03, 0.02]


def unit(kind: Kind, index: int) -> UnitId:
    return UnitId("toy", "hook", kind, "sae" if kind is Kind.FEATURE else None, index)


def measured(kind: Kind, index: int, value: float | Unscored, role: Role, level: float) -> Measured:
    outcome: Outcome = value if isinstance(value, Unscored) else Scored(
        value, Interval(value - 0.11, value + 0.07, level, "bootstrap"), 10, 160
    )  # fmt: skip
    provenance = (Provenance("test", model_asked="m"),)
    score = Score(
        unit(kind, index), "openai.simulation", 1, "pearson", outcome, role, 10, 2, f"{role} {index}", provenance
    )
    return Measured(score, 0.01, primary=True)


def by_hand(level: float) -> list[Measured]:
    rows = [measured(Kind.FEATURE, n, one, Role.EXPLANATION, level) for n, one in enumerate(FEATURES)]
    rows += [measured(Kind.NEURON, n, one, Role.EXPLANATION, level) for n, one in enumerate(NEURONS)]
    return rows + [measured(Kind.FEATURE, n, one, Role.OTHER_EXPLANATION, level) for n, one in enumerate(LENT)]


def write(folder: Path, level: float = 0.95, rows: list[Measured] | None = None) -> dict[str, Any]:
    """A run's tables, by hand, and their summary."""
    folder.mkdir(exist_ok=True)
    write_scores(folder, rows or by_hand(level))
    manifest = {
        "format": "autointerp-run",
        "version": 1,
        "name": "by hand",
        "seed": 0,
        "statistics": {"level": level, "resamples": 100},
        "first_preset": "openai",
        **{key: [] for key in ("stores", "models")},
        **{key: {} for key in ("presets", "prompts", "calls", "versions")},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return summarise(folder)


def under_headings(text: str, heading: str, row: str) -> dict[str, str]:
    """The cells of a table of `show_text`, each under the heading whose columns it stands in."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.split("  ")[0] == heading)
    found = next(line for line in lines[start:] if re.match(row, line.strip()))
    names = [(match.group(), match.end()) for match in re.finditer(r"\S+(?: \S+)*", lines[start])]
    cells = [(match.group(), match.end()) for match in re.finditer(r"\S+(?: \S+)*", found)]
    return {min(names, key=lambda name: abs(name[1] - end))[0]: cell for cell, end in cells}


def test_peer_defect_no_statistic_is_printed_under_the_heading_of_another(tmp_path: Path) -> None:
    """Two peers printed one correlation in the column of another. All numbers here differ from one another."""
    summary = write(tmp_path)
    text = show_text(summary, rows=9)
    one = summary["summary"]["feature"]["openai.simulation"]
    assert one["mean"] == pytest.approx(np.mean([0.91, 0.62, 0.27]))
    row = under_headings(text, "scorer", r"openai.simulation +features +")
    assert (row["mean"], row["median"]) == ("0.600", "0.620")
    assert row["95% interval"] == f"{one['ci_low']:.3f} to {one['ci_high']:.3f}"
    assert row["scored"] == "3 of 4"
    place = under_headings(text, "rank", r"1 ")
    assert place["score"] == "0.910"
    assert place["95% interval"] == "0.800 to 0.980"
    assert place["control gap"] == "0.70"
    assert place["coverage"] == "80%"
    neurons = under_headings(text, "scorer", r"openai.simulation +neurons +")
    assert (neurons["mean"], neurons["median"], neurons["scored"]) == ("0.200", "0.110", "3 of 4")
    assert "1 no explanation" in text
    assert "1 never fires" in text


def test_the_report_and_the_ranking_file_say_the_same_as_the_summary(tmp_path: Path) -> None:
    summary = write(tmp_path)
    (tmp_path / "figures").mkdir()
    line = detail(make_unit_record([make_record(["a"], [1])], [], unit(Kind.FEATURE, 0)), "openai", Role.EXPLANATION,
                  Unscored(Reason.REFUSAL))  # fmt: skip
    (tmp_path / "units.jsonl.gz").write_bytes(_gzipped(line))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    tables = [_cells(table) for table in re.findall(r"<table>(.*?)</table>", page, re.DOTALL)]
    one = summary["summary"]["feature"]["openai.simulation"]
    scores = next(row for row in tables[0] if row["units"] == "features")
    assert (scores["mean"], scores["median"], scores["scored"]) == ("0.600", "0.620", "3 of 4")
    assert scores["95% interval"] == f"{one['ci_low']:.3f} to {one['ci_high']:.3f}"
    compared = summary["comparison"]["openai.simulation"]
    (difference,) = tables[1]
    assert difference["difference of means"] == f"{compared['difference']:.3f}" == "0.400"
    assert difference["95% interval"] == f"{compared['ci_low']:.3f} to {compared['ci_high']:.3f}"
    assert difference["p (Mann–Whitney)"] == f"{compared['p_value']:.2g}"
    assert difference["effect size (Cliff's delta)"] == f"{compared['effect_size']:.3f}"
    (lent,) = tables[2]
    assert (lent["control"], lent["mean"], lent["scored"]) == ("other explanation", "0.095", "4 of 4")
    header, first, *_ = write_ranking(tmp_path).read_text().splitlines()
    place = dict(zip(header.split(","), first.split(","), strict=True))
    assert float(place["score"]) == 0.91
    assert (float(place["ci_low"]), float(place["ci_high"])) == (pytest.approx(0.8), pytest.approx(0.98))
    assert float(place["control_gap"]) == pytest.approx(0.7)


def test_single_token_units_are_set_apart_and_the_rest_compared_again(tmp_path: Path) -> None:
    """TM: features of a shuffled subject score high by single tokens, so scores are told without such units, too."""
    assert "without_single_token" not in write(tmp_path / "none")
    values = {Kind.FEATURE: [0.91, 0.62, 0.27, 0.15, 0.9], Kind.NEURON: [0.44, 0.05, 0.11, 0.3, 0.2]}
    single = {Kind.FEATURE: [True, False, None, False, True], Kind.NEURON: [False] * 4 + [True]}
    rows = [
        replace(measured(kind, n, one, Role.EXPLANATION, 0.95), single_token=single[kind][n])
        for kind in values
        for n, one in enumerate(values[kind])
    ]
    rows += [
        replace(measured(Kind.FEATURE, 10 + n, one, Role.SHUFFLED_WEIGHTS, 0.95), single_token=one > 0.5,
                control_subject="shuffled_weights")
        for n, one in enumerate([0.8, 0.7, 0.1, 0.2])
    ]  # fmt: skip
    summary = write(tmp_path / "some", rows=rows)
    varied = summary["without_single_token"]
    assert varied["left_out"] == {"openai.simulation": {"feature": 2, "neuron": 1}}
    features, neurons = (varied["summary"][kind]["openai.simulation"] for kind in ("feature", "neuron"))
    assert (features["n_attempted"], features["mean"]) == (3, pytest.approx((0.62 + 0.27 + 0.15) / 3))
    assert (neurons["n_attempted"], neurons["mean"]) == (4, pytest.approx(0.225))
    shuffled = varied["controls"]["control_shuffled_weights"]["feature"]["openai.simulation"]
    assert (shuffled["n_scored"], shuffled["mean"]) == (2, pytest.approx(0.15))
    assert varied["comparison"]["openai.simulation"]["difference"] == pytest.approx(features["mean"] - 0.225)
    assert summary["summary"]["feature"]["openai.simulation"]["n_scored"] == 5  # and the main numbers hold them all
    text = " ".join(show_text(summary, rows=1).split())
    assert "one token in all top contexts (2 features and 1 neuron): features and neurons cannot be told apart" in text
    assert "Without these units: features of the weight-shuffled subject: mean 0.150" in text


def _gzipped(line: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(line).encode() + b"\n")


def _cells(table: str) -> list[dict[str, str]]:
    """The rows of an HTML table, each cell under its heading."""
    names = [unescape(name) for name in re.findall(r"<th>(.*?)</th>", table)]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]
    return [dict(zip(names, map(unescape, row), strict=True)) for row in rows if len(row) == len(names)]


def test_intervals_are_called_by_the_level_they_have(tmp_path: Path) -> None:
    summary = write(tmp_path, level=0.5)
    text = show_text(summary, rows=3)
    assert "50% interval" in text
    assert "95%" not in text
    (tmp_path / "other").mkdir()
    wide = write(tmp_path / "other", level=0.99)
    narrow_one, wide_one = (one["summary"]["feature"]["openai.simulation"] for one in (summary, wide))
    assert wide_one["ci_low"] < narrow_one["ci_low"] < narrow_one["ci_high"] < wide_one["ci_high"]


def test_a_failure_is_told_with_its_cause_its_first_unit_and_what_was_said(tmp_path: Path) -> None:
    write(tmp_path)
    assert failures(tmp_path) == [
        "1 unit has no score, never fires (first: toy/hook/neuron/-/3): silent on 100 tokens",
        "1 unit has no score, parse failure (first: toy/hook/feature/sae/3): the reply has 2 lines",
    ]


def test_the_pictures_histogram_holds_every_token_of_the_fine_one() -> None:
    """A peer's client bins again because its producer bins wrongly."""
    fine = np.arange(2048, dtype=np.int64)
    record = make_unit_record([make_record(["a"], [1])], [])
    object.__setattr__(record, "statistics", make_statistics(histogram=fine))
    coarse = detail(record, "openai", Role.EXPLANATION, Unscored(Reason.REFUSAL))["statistics"]["histogram"]
    assert coarse == [sum(range(32 * n, 32 * n + 32)) for n in range(64)]


def test_the_manifest_is_read_whole(tmp_path: Path) -> None:
    write(tmp_path)
    assert read_manifest(tmp_path)["statistics"] == {"level": 0.95, "resamples": 100}
