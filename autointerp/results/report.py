"""report.html: one self-contained page with the comparison, the controls, the ranking, and the units' contexts.

Everything that came from a corpus or an LLM travels as gzipped JSON in base64 and is put into the page as text only
(`textContent`), so that it cannot become markup or script.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from autointerp.results.costs import cost_words, plan_words
from autointerp.results.details import read_details, read_heads
from autointerp.results.excerpt import LIMIT, SAMPLE, notable, sampled
from autointerp.results.manifest import read_manifest
from autointerp.results.reading import score_batches
from autointerp.results.standing import ranked_scorers, standing
from autointerp.results.summary import summarise
from autointerp.results.tables import write_atomically
from autointerp.results.words import interval_name, verdicts
from autointerp.types import Role

__all__ = ["PLACES", "write_report"]

PLACES = 2000
"""Places of each ranking in a page."""


def write_report(folder: Path, summary: Mapping[str, Any] | None = None) -> Path:
    """Writes DIR/report.html from the run's tables.

    Of a run with more units than a page can hold it shows some (see `excerpt`), and says so. summary: the run's, where
    it is there already, with `PLACES` places or more. Raises BadInput where the folder holds no finished run.
    """
    manifest = read_manifest(folder)
    summary = summarise(folder, PLACES) if summary is None else summary
    scorers = {name: f"{name}.{preset['settings']['scorer']}" for name, preset in manifest["presets"].items()}
    shown = _shown(folder, scorers, summary)
    data = {
        "interval_name": interval_name(summary),
        "ranking": shown.places,
        "scorers": scorers,
        "units": _units(folder, shown.units),
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
        left_out=shown.left_out,
        style=(page / "report.css").read_text(encoding="utf-8"),
        script=(page / "report.js").read_text(encoding="utf-8"),
        data=_packed(data),
    )
    path = folder / "report.html"
    write_atomically(path, text.encode("utf-8", "surrogatepass"))
    return path


@dataclass(frozen=True, slots=True)
class _Shown:
    """What of a run is in the page: units with their contexts, by protocol, and places of the rankings.

    left_out: what the page says of its limits, None where all units are in it.
    """

    units: Mapping[str, set[str]]
    places: list[dict[str, Any]]
    left_out: dict[str, int] | None


def _shown(folder: Path, scorers: Mapping[str, str], summary: Mapping[str, Any]) -> _Shown:
    sample = sampled(read_heads(folder))
    places = [place for ranking in summary["rankings"].values() for place in ranking[:PLACES]]
    if sample.n_units <= LIMIT:
        return _Shown(sample.chosen, places, None)
    units = {preset: set(chosen) for preset, chosen in sample.chosen.items()}
    longest = 0
    names, role = ranked_scorers(folder)
    for preset in sorted(units):
        if scorers[preset] in names:
            ranking = standing(folder, scorers[preset], role, float(summary["level"]))
            longest = max(longest, len(ranking))
            units[preset] |= notable(ranking, (LIMIT - SAMPLE) // len(units))
            places += [place for place in ranking.places_of(units[preset]) if place["rank"] > PLACES]
    n_shown = sum(len(chosen) for chosen in units.values())
    numbers = {"units": n_shown, "of_units": sample.n_units, "places": min(PLACES, longest), "of_places": longest}
    return _Shown(units, places, numbers)


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


def _units(folder: Path, shown: Mapping[str, set[str]]) -> list[dict[str, Any]]:
    """One entry per unit and preset: what was said of it, every score it got, and the contexts behind its own."""
    scores = _scores_of(folder, set().union(*shown.values()))
    units: dict[tuple[str, str], dict[str, Any]] = {}
    for line in read_details(folder, lambda head: head.unit in shown.get(head.preset, ())):
        key = (line["unit"], line["preset"])
        entry = units.setdefault(key, {"unit": line["unit"], "kind": line["kind"], "index": line["index"]})
        entry["preset"] = line["preset"]
        entry["scores"] = [one for one in scores[line["unit"]] if one["scorer"].startswith(line["preset"] + ".")]
        entry["single_token"] = scores[line["unit"]][0]["single_token"] if scores[line["unit"]] else None
        if line["role"] == Role.OTHER_EXPLANATION.value:
            entry["other"] = line["explanation"]
        else:
            names = ("explanation", "statistics", "records", "scale", "role")
            entry.update({name: line[name] for name in names})
    return [units[key] for key in sorted(units)]


def _scores_of(folder: Path, units: set[str]) -> dict[str, list[dict[str, Any]]]:
    columns = ["scorer", "metric", "primary", "role", "status", "reason", "detail", "value", "ci_low", "ci_high"]
    columns.append("single_token")
    wanted = pa.array(sorted(units), pa.string())
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for batch in score_batches(folder, ["unit", *columns]):
        for row in batch.filter(pc.is_in(batch["unit"], wanted)).to_pylist():
            found[row.pop("unit")].append(row)
    return found
