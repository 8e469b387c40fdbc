"""The folder of a run: made before the run, and described by its manifest."""

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
from autointerp.results.manifest import FORMAT, MANIFEST_VERSION, is_run
from autointerp.results.tables import Measured
from autointerp.types import Unscored

__all__ = ["Finished", "Tally", "manifest_text", "prepare_folder", "remove_leftovers"]

WRITTEN = ("scores.parquet", "units.jsonl.gz", "manifest.json", "ranking.csv", "report.html")


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finished job hands over besides its rows and lines.

    job: as it was run; presets: the first is the one the run ranks by; account: of the calls, {} where none was asked.
    """

    job: Mapping[str, Any]
    presets: Sequence[Preset]
    stores: Sequence[ContextStore]
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


def remove_leftovers(folder: Path) -> None:
    """Removes what a process that was killed while it wrote the folder left half written."""
    for name in WRITTEN:
        (folder / f"{name}.part").unlink(missing_ok=True)


class Tally:
    """What a manifest says of a run's rows, counted while they go by."""

    def __init__(self) -> None:
        self._prompts: dict[str, str] = {}
        self._models: set[tuple[str, str, str]] = set()
        self._coverage: dict[str, Counter[str]] = {}

    def add(self, measured: Measured) -> None:
        score = measured.score
        for one in score.provenance:
            if one.prompt_id:
                self._prompts[one.prompt_id] = one.prompt_hash
            if one.provider:
                self._models.add((one.provider, one.model_asked, one.model_served))
        if measured.primary:
            counter = self._coverage.setdefault(f"{score.scorer}/{score.role.value}/{score.unit.kind.value}", Counter())
            counter[score.outcome.reason.value if isinstance(score.outcome, Unscored) else "scored"] += 1

    def described(self) -> dict[str, Any]:
        """Prompts by id, models asked and served, and the coverage of each scorer and role (primary metric only)."""
        return {
            "prompts": dict(sorted(self._prompts.items())),
            "models": [{"provider": a, "asked": b, "served": c} for a, b, c in sorted(self._models)],
            "coverage": {name: _coverage(counter) for name, counter in sorted(self._coverage.items())},
        }


def manifest_text(run: Finished, tally: Tally) -> bytes:
    """The content of manifest.json."""
    manifest = {**_manifest(run), **tally.described()}
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


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
        "model": run.job.get("model"),
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


def _coverage(counter: Counter[str]) -> dict[str, Any]:
    """Scored of attempted, with the reasons of the rest."""
    return {
        "attempted": sum(counter.values()),
        "scored": counter["scored"],
        "unscored": {reason: n for reason, n in sorted(counter.items()) if reason != "scored"},
    }
