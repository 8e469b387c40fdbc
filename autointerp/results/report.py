"""report.html: one self-contained page with the comparison, the controls, the ranking, and every unit's contexts.

Everything that came from a corpus or an LLM travels as gzipped JSON in base64 and is put into the page as text only
(`textContent`), so that it cannot become markup or script.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from autointerp.results.costs import cost_words, plan_words
from autointerp.results.details import read_details
from autointerp.results.manifest import read_manifest
from autointerp.results.summary import summarise
from autointerp.results.tables import read_scores, write_atomically
from autointerp.results.words import interval_name, verdicts

__all__ = ["write_report"]


def write_report(folder: Path) -> Path:
    """Writes DIR/report.html from the run's tables. Raises BadInput where the folder holds no finished run."""
    manifest = read_manifest(folder)
    summary = summarise(folder)
    ranking = [place for places in summary["rankings"].values() for place in places]
    scorers = {name: f"{name}.{preset['settings']['scorer']}" for name, preset in manifest["presets"].items()}
    data = {
        "interval_name": interval_name(summary),
        "ranking": ranking,
        "scorers": scorers,
        "units": _units(folder),
    }
    page = files("autointerp.results") / "page"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = environment.from_string((page / "report.html").read_text(encoding="utf-8")).render(
        manifest=manifest,
        summary=summary,
        interval_name=interval_name(summary),
        verdicts=verdicts(summary),
        money={"cost": cost_words(manifest), "plan": plan_words(manifest)},
        figures=list(_figures(folder)),
        style=(page / "report.css").read_text(encoding="utf-8"),
        script=(page / "report.js").read_text(encoding="utf-8"),
        data=_packed(data),
    )
    path = folder / "report.html"
    write_atomically(path, text.encode("utf-8", "surrogatepass"))
    return path


def _packed(data: Any) -> str:
    """Base64 of gzipped JSON: only letters, digits, '+', '/' and '=' reach the page."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _figures(folder: Path) -> Iterable[dict[str, str]]:
    """The figures, those of the scorers that rank before those of further sample sets, histograms first."""
    for path in sorted((folder / "figures").glob("*.svg"), key=_weight):
        yield {"name": path.stem, "source": "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()}


def _weight(figure: Path) -> tuple[bool, int, str]:
    what, _, scorer = figure.stem.partition("-")
    kinds = ("histogram", "scorers", "density")
    return scorer.count(".") > 1, kinds.index(what) if what in kinds else len(kinds), scorer


def _units(folder: Path) -> list[dict[str, Any]]:
    """One entry per unit and preset: what was said of it, every score it got, and the contexts behind its own."""
    scores = _scores_of(read_scores(folder))
    units: dict[tuple[str, str], dict[str, Any]] = {}
    for line in read_details(folder):
        key = (line["unit"], line["preset"])
        entry = units.setdefault(key, {"unit": line["unit"], "kind": line["kind"], "index": line["index"]})
        entry["preset"] = line["preset"]
        entry["scores"] = [one for one in scores[line["unit"]] if one["scorer"].startswith(line["preset"] + ".")]
        if line["role"] == "control_other_explanation":
            entry["other"] = line["explanation"]
        else:
            shown = ("explanation", "statistics", "records", "scale", "role")
            entry.update({name: line[name] for name in shown})
    return [units[key] for key in sorted(units)]


def _scores_of(frame: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    columns = ["scorer", "metric", "primary", "role", "status", "reason", "detail", "value", "ci_low", "ci_high"]
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for unit, rows in frame.groupby("unit", sort=True):
        for row in rows[columns].to_dict("records"):
            found[str(unit)].append({str(name): None if pd.isna(value) else value for name, value in row.items()})
    return found
