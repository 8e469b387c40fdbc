"""The ranking of a scorer, from the table, in columns: some hundred bytes a unit, however long its provenance is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.results.manifest import read_manifest
from autointerp.results.reading import UnitKeys, primary_rows, score_batches
from autointerp.results.tables import SCHEMA, atomically
from autointerp.stats import Alike, Step, order_by_bound
from autointerp.types import FloatArray, Role

__all__ = ["Standing", "ranked_scorers", "standing", "write_ranking"]

_COLUMNS = ("scorer", "rank", "unit", "kind", "score", "ci_low", "ci_high", "control_gap", "coverage", "explanation")
_READ = ("unit", "index", "kind", "scorer_version", "metric", "primary", "role", "control_subject", "status", "value",
         "ci_low", "ci_high", "attempted", "failed", "explanation", "provenance")  # fmt: skip
_KEPT = pa.schema(
    [
        *(SCHEMA.field(name) for name in ("unit", "kind", "value", "ci_low", "ci_high")),
        *(SCHEMA.field(name) for name in ("attempted", "failed", "explanation")),
        pa.field("key", pa.int64()),
    ]
)
_PLACES_AT_ONCE = 4096
_CONSTANT = "constant"  # the second part of the names of the predictor that says the same everywhere


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Units in order of the lower bound of their score, best first; every column is [n], in that order.

    control_gap: score less that of another unit's explanation, NaN where there is none; coverage: contexts scored of
    contexts attempted, in [0, 1].
    """

    scorer: str
    unit: pa.StringArray
    kind: pa.StringArray
    score: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    control_gap: FloatArray
    coverage: FloatArray
    explanation: pa.StringArray

    def __len__(self) -> int:
        return len(self.unit)

    def places(self, stop: int | None = None) -> Iterator[dict[str, Any]]:
        """The first places (None: all), as `show --json` has them."""
        end = len(self) if stop is None else min(stop, len(self))
        for start in range(0, end, _PLACES_AT_ONCE):
            yield from self._some(np.arange(start, min(end, start + _PLACES_AT_ONCE)))

    def places_of(self, units: set[str]) -> list[dict[str, Any]]:
        """The places of some units, best first; those that have none are left out."""
        chosen = pc.is_in(self.unit, pa.array(sorted(units), pa.string())).to_numpy(zero_copy_only=False)
        return list(self._some(np.flatnonzero(chosen)))

    def _some(self, numbers: NDArray[np.intp]) -> Iterator[dict[str, Any]]:
        columns = (self.score, self.ci_low, self.ci_high, self.control_gap, self.coverage)
        texts = (self.unit, self.kind, self.explanation)
        numeric = zip(*(column[numbers].tolist() for column in columns), strict=True)
        worded = zip(*(text.take(pa.array(numbers)).to_pylist() for text in texts), strict=True)
        for number, (score, low, high, gap, coverage), (unit, kind, explanation) in zip(
            numbers.tolist(), numeric, worded, strict=True
        ):
            yield {
                "rank": number + 1,
                "unit": unit,
                "kind": kind,
                "score": score,
                "ci_low": low,
                "ci_high": high,
                "control_gap": None if np.isnan(gap) else gap,
                "coverage": coverage,
                "explanation": explanation,
                "scorer": self.scorer,
            }


def ranked_scorers(folder: Path) -> tuple[list[str], Role]:
    """The scorers that rank the units' own explanations, those of the job's first protocol first, and their role; where
    no LLM took part, those of the baselines."""
    rows = primary_rows(folder, ["scorer", "role", "control_subject", "status"])
    role = Role.EXPLANATION if (rows["role"] == Role.EXPLANATION.value).any() else Role.BASELINE
    rows = rows[(rows["role"] == role.value) & rows["control_subject"].isna()]
    if role is Role.BASELINE:  # the constant ranks nothing, also where a protocol counts it as 0
        ranks = (rows["status"] == "scored") & (rows["scorer"].astype(str).str.split(".").str[1] != _CONSTANT)
        rows = rows[rows["scorer"].isin(rows.loc[ranks, "scorer"].unique())]
    first = str(read_manifest(folder)["first_preset"])
    names = [str(name) for name in rows["scorer"].unique()]
    return sorted(names, key=lambda name: (not name.startswith(first + "."), name.count("."), name)), role


def standing(folder: Path, scorer: str, role: Role, level: float) -> Standing:
    """The ranking of the scores of a role (explanation or baseline); level: of the run's intervals.

    Raises BadInput, naming both units, where scores are not comparable (other versions, prompts, providers or models
    asked), where a unit comes twice, or where a control's score is of another version or metric.
    """
    found = _Found(scorer, level)
    for batch in score_batches(folder, _READ, scorer):
        kept = batch.filter(batch["primary"])
        roles = kept["role"]
        found.add_own(kept.filter(pc.and_(pc.equal(roles, role.value), pc.is_null(kept["control_subject"]))))
        found.add_lent(kept.filter(pc.equal(roles, Role.OTHER_EXPLANATION.value)))
    return found.in_order()


class _Found:
    """The units' own scores under one scorer, all of them checked and the rankable ones kept, and those with the
    explanation of another unit."""

    def __init__(self, scorer: str, level: float) -> None:
        self._scorer, self._level = scorer, level
        self._alike = Alike()
        self._keys = UnitKeys()
        self._seen = [np.zeros(0, dtype=np.int64)]
        self._kept: list[pa.RecordBatch] = []
        self._lent_unit = [np.zeros(0, dtype=np.int64)]
        self._lent_score = [np.zeros(0)]
        self._versions: set[tuple[int, str]] = set()
        self._lent_versions: dict[tuple[int, str], str] = {}

    def add_own(self, rows: pa.RecordBatch) -> None:
        columns = ("unit", "scorer_version", "metric", "role", "status", "ci_low", "attempted", "provenance")
        for unit, version, metric, role, status, low, attempted, made in zip(
            *(rows[name].to_pylist() for name in columns), strict=True
        ):
            if status == "scored" and attempted < 1:
                raise BadInput(f"unit {unit} is scored on no attempted context: its coverage is unknown")
            level = None if low is None else self._level
            self._alike.add(unit, self._scorer, version, metric, role, level, map(_step, json.loads(made)))
            self._versions.add((version, metric))
        self._seen.append(self._keys.of(rows))
        rankable = rows.filter(pc.is_valid(rows["ci_low"]))
        keys = pa.array(self._keys.of(rankable))
        self._kept.append(rankable.select(_KEPT.names[:-1]).append_column(_KEPT.field(-1), keys))

    def add_lent(self, rows: pa.RecordBatch) -> None:
        columns = (rows[name].to_pylist() for name in ("unit", "scorer_version", "metric"))
        for unit, version, metric in zip(*columns, strict=True):
            self._lent_versions.setdefault((version, metric), unit)
        self._lent_unit.append(self._keys.of(rows))
        self._lent_score.append(rows["value"].to_numpy(zero_copy_only=False))

    def in_order(self) -> Standing:
        self._check()
        rows = pa.Table.from_batches(self._kept, _KEPT)
        by_name = pc.sort_indices(rows["unit"]).to_numpy()
        order = by_name[order_by_bound(rows["ci_low"].to_numpy()[by_name], rows["value"].to_numpy()[by_name])]
        rows = rows.take(pa.array(order))
        self._kept = []
        value, attempted = rows["value"].to_numpy(), rows["attempted"].to_numpy()
        return Standing(
            scorer=self._scorer,
            unit=rows["unit"].combine_chunks(),
            kind=rows["kind"].combine_chunks(),
            score=value,
            ci_low=rows["ci_low"].to_numpy(),
            ci_high=rows["ci_high"].to_numpy(),
            control_gap=value - self._lent_to(rows["key"].to_numpy()),
            coverage=(attempted - rows["failed"].to_numpy()) / attempted,
            explanation=rows["explanation"].combine_chunks(),
        )

    def _check(self) -> None:
        units, times = np.unique(np.concatenate(self._seen), return_counts=True)
        if (twice := units[times > 1]).size:
            raise BadInput(f"unit {self._keys.name(int(twice[0]))} comes twice in one ranking: rank one score per unit")
        for version, unit in self._lent_versions.items():
            if self._versions and version not in self._versions:
                raise BadInput(f"the control of unit {unit} was scored with another version or metric: score it anew")

    def _lent_to(self, units: NDArray[np.int64]) -> FloatArray:
        """What each unit scores with the explanation of another, NaN where that is Unscored or was not tried."""
        lent = pd.Series(np.concatenate(self._lent_score), index=np.concatenate(self._lent_unit))
        found = lent[~lent.index.duplicated(keep="last")].reindex(units)
        return np.asarray(found, dtype=np.float64)


def _step(one: dict[str, Any]) -> Step:
    return one["method"], one["prompt_id"], one["prompt_hash"], one["provider"], one["model_asked"]


def write_ranking(folder: Path) -> Path:
    """Writes ranking.csv: every scorer's ranking, one after another."""
    path = folder / "ranking.csv"
    level = float(read_manifest(folder)["statistics"]["level"])
    names, role = ranked_scorers(folder)
    with atomically(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogatepass", newline="")
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in names:
            writer.writerows(standing(folder, name, role, level).places())
        text.detach()  # flushes; the file is closed by `atomically`
    return path
