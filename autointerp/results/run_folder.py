"""What a run leaves on disk: manifest, scores, contexts, ranking, report and figures."""

from __future__ import annotations

import json
import platform
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from autointerp.errors import BadInput
from autointerp.presets import Preset
from autointerp.records import ContextStore
from autointerp.results.details import write_details
from autointerp.results.figures import write_figures
from autointerp.results.manifest import FORMAT, MANIFEST_VERSION, is_run
from autointerp.results.report import write_report
from autointerp.results.summary import summarise, write_ranking
from autointerp.results.tables import Measured, scores_table, write_atomically, write_scores
from autointerp.types import Unscored

__all__ = ["Finished", "prepare_folder", "write_run"]


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything a finished job hands over."""

    folder: Path
    job: Mapping[str, Any]
    presets: Sequence[Preset]
    stores: Sequence[ContextStore]
    rows: Sequence[Measured]
    details: Sequence[Mapping[str, Any]]
    account: Mapping[str, Any]
    plan: Mapping[str, Any] | None = None


def prepare_folder(folder: Path) -> None:
    """Makes the folder a run is to be written into, before anything is computed for it.

    Raises BadInput where it cannot be made or written, or is the folder of something else than a run, such as a context
    store, whose manifest would be overwritten.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror}): name another folder with --out") from error
    if (folder / "manifest.json").exists() and not is_run(folder):
        raise BadInput(f"{folder} holds something else than a run: name another folder with --out")


def write_run(run: Finished) -> None:
    """Writes the run's folder. Scores and contexts are functions of the job, the stores and the replies."""
    write_scores(run.folder, scores_table(run.rows))
    write_details(run.folder, (dict(line) for line in run.details))
    manifest = json.dumps(_manifest(run), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(run.folder / "manifest.json", manifest.encode() + b"\n")
    write_ranking(run.folder, summarise(run.folder))
    write_figures(run.folder)
    write_report(run.folder)


def _manifest(run: Finished) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": MANIFEST_VERSION,
        "name": run.job["name"],
        "seed": run.job["seed"],
        "statistics": run.job["statistics"],
        "stores": [_store(store) for store in run.stores],
        "first_preset": run.presets[0].name,
        "presets": {preset.name: _preset(preset) for preset in run.presets},
        "prompts": _prompts(run.rows),
        "models": _models(run.rows),
        "model": run.job.get("model"),
        "coverage": _coverage(run.rows),
        "calls": dict(run.account),
        **({} if run.plan is None else {"plan": dict(run.plan)}),
        "versions": {
            "autointerp": version("autointerp"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    }


def _store(store: ContextStore) -> dict[str, Any]:
    keep = ("subject", "hook", "corpus", "dictionary", "window", "precision", "seed", "sampling", "control")
    return {"fingerprint": store.fingerprint, **{key: store.manifest.get(key) for key in keep}}


def _preset(preset: Preset) -> dict[str, Any]:
    """A protocol as it was used, and where it departs from the paper's constants."""
    protocol = (preset.original or preset).name
    return {
        "protocol": protocol,
        "source": preset.source,
        "settings": preset.settings(),
        "changed_from_paper": preset.changed(),
    }


def _prompts(rows: Sequence[Measured]) -> dict[str, str]:
    used = {one.prompt_id: one.prompt_hash for row in rows for one in row.score.provenance if one.prompt_id}
    return dict(sorted(used.items()))


def _models(rows: Sequence[Measured]) -> list[dict[str, str]]:
    asked = {
        (one.provider, one.model_asked, one.model_served)
        for row in rows
        for one in row.score.provenance
        if one.provider
    }
    return [{"provider": a, "asked": b, "served": c} for a, b, c in sorted(asked)]


def _coverage(rows: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Scored of attempted, with the reasons of the rest, for each scorer and role (primary metric only)."""
    counts: dict[str, Counter[str]] = {}
    for score in (row.score for row in rows if row.primary):
        counter = counts.setdefault(f"{score.scorer}/{score.role.value}/{score.unit.kind.value}", Counter())
        counter[score.outcome.reason.value if isinstance(score.outcome, Unscored) else "scored"] += 1
    return {
        name: {
            "attempted": sum(counter.values()),
            "scored": counter["scored"],
            "unscored": {reason: n for reason, n in sorted(counter.items()) if reason != "scored"},
        }
        for name, counter in sorted(counts.items())
    }
