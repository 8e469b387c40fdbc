"""What a run found, from its tables alone: means with intervals, features against neurons, controls, rankings.

The document of `autointerp show --json`. Numbers that could not be computed are null with their counts beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from autointerp.results.manifest import read_manifest
from autointerp.results.reading import primary_rows
from autointerp.results.standing import ranked_scorers, standing
from autointerp.stats import compare_groups, compare_paired
from autointerp.stats import summarise as summarise_group
from autointerp.types import Role, Unscored

__all__ = ["summarise"]

_CONTROLS = (Role.OTHER_EXPLANATION.value, Role.SHUFFLED_WEIGHTS.value)
_MAIN = (Role.EXPLANATION.value, Role.BASELINE.value)
_COLUMNS = ("unit", "kind", "scorer", "metric", "role", "control_subject", "single_token", "status", "reason", "value")
_SEED = 0  # of the bootstrap over units; a run's summary is a function of its table


def summarise(folder: Path, places: int | None = None) -> dict[str, Any]:
    """The document of `show --json` for a run's folder; of each ranking the first `places` only, None for all.

    without_single_token: the same numbers of the ranked scorers without the units whose maximum is on one token in all
    top contexts, where there are such; left_out: how many they are, by scorer and kind.

    Raises BadInput where the folder holds no run, or one whose scores cannot be ranked together.
    """
    manifest = read_manifest(folder)
    level = float(manifest["statistics"]["level"])
    rankings = _rankings(folder, level, places)
    found, varied = _Found(level), _Found(level)
    left_out: dict[str, dict[str, int]] = {}
    for scorer in sorted(map(str, primary_rows(folder, ["scorer"])["scorer"].unique())):
        rows = primary_rows(folder, _COLUMNS, scorer)
        found.add(scorer, rows)
        single = rows["single_token"].to_numpy() == True  # noqa: E712 (an array of objects, some of them None)
        if scorer in rankings and single.any():
            left_out[scorer] = _units_of(rows[single & rows["control_subject"].isna()])
            varied.add(scorer, rows[~single])
    return {
        "level": level,
        **found.document(),
        **({"without_single_token": {"left_out": left_out, **varied.document()}} if left_out else {}),
        "ranking": next(iter(rankings.values()), []),
        "rankings": rankings,
        "calls": manifest["calls"],
        **({"plan": manifest["plan"]} if "plan" in manifest else {}),
    }


def _units_of(rows: pd.DataFrame) -> dict[str, int]:
    """{kind: how many units}."""
    return {kind: int(group["unit"].nunique()) for kind, group in _groups(rows, "kind")}


_ByKind: TypeAlias = dict[str, dict[str, Any]]
"""{kind: {scorer: numbers}}."""


def _sorted(found: _ByKind) -> _ByKind:
    return dict(sorted(found.items()))


class _Found:
    """The numbers of a run, scorer by scorer in alphabetical order: only one's rows are in memory."""

    def __init__(self, level: float) -> None:
        self._level = level
        self.summary: _ByKind = {}
        self.comparison: dict[str, Any] = {}
        self.controls: dict[str, _ByKind] = {role: {} for role in _CONTROLS}

    def document(self) -> dict[str, Any]:
        """As it stands in the document of a run."""
        return {
            "summary": _sorted(self.summary),
            "comparison": self.comparison,
            "controls": {role: _sorted(self.controls[role]) for role in _CONTROLS if self.controls[role]},
        }

    def add(self, scorer: str, rows: pd.DataFrame) -> None:
        """The scores of the units, features against neurons, and the controls: another unit's explanation with the gap
        between own and control, paired, and the units of the shuffled subject."""
        own = rows[rows["role"].isin(_MAIN) & rows["control_subject"].isna()]
        other = rows[rows["role"] == Role.OTHER_EXPLANATION.value]
        shuffled = rows[rows["control_subject"].notna()]
        if len(own):
            self.comparison[scorer] = _comparison(own, self._level)
        for kind, group in _groups(own, "kind"):
            self.summary.setdefault(kind, {})[scorer] = _numbers(group, self._level)
        for kind, group in _groups(other, "kind"):
            numbers = _numbers(group, self._level)
            numbers["gap"] = _gap(own[own["kind"] == kind], group, self._level)
            self.controls[Role.OTHER_EXPLANATION.value].setdefault(kind, {})[scorer] = numbers
        for kind, group in _groups(shuffled, "kind"):
            numbers = _numbers(group, self._level)
            self.controls[Role.SHUFFLED_WEIGHTS.value].setdefault(kind, {})[scorer] = numbers


def _groups(rows: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each value of a column, in alphabetical order."""
    for name, group in rows.groupby(column, sort=True, observed=True):
        yield str(name), group


def _numbers(rows: pd.DataFrame, level: float) -> dict[str, Any]:
    """Mean and median of the scored rows with intervals, and the counts and reasons of the others."""
    scored = rows.loc[rows["status"] == "scored", "value"].to_numpy()
    reasons = rows.loc[rows["status"] != "scored", "reason"].value_counts().sort_index()
    counts: dict[str, Any] = {
        "n_attempted": len(rows),
        "n_scored": len(scored),
        "unscored": {str(reason): int(n) for reason, n in reasons.items() if n},
        "metric": str(rows["metric"].iloc[0]),
    }
    group = summarise_group(scored, n_unscored=len(rows) - len(scored), seed=_SEED, level=level)
    if isinstance(group, Unscored):
        mean = float(scored[0]) if len(scored) == 1 else None
        return {**counts, "mean": mean, "median": mean, "ci_low": None, "ci_high": None}
    return {
        **counts,
        "mean": group.mean.value,
        "median": group.median.value,
        "ci_low": group.mean.interval.low,
        "ci_high": group.mean.interval.high,
        "median_ci_low": group.median.interval.low,
        "median_ci_high": group.median.interval.high,
    }


def _comparison(rows: pd.DataFrame, level: float) -> dict[str, Any]:
    """Features less neurons under one scorer."""
    scored = rows[rows["status"] == "scored"]
    groups = {kind: scored.loc[scored["kind"] == kind, "value"].to_numpy() for kind in ("feature", "neuron")}
    attempted = rows["kind"].value_counts()
    found = compare_groups(
        groups["feature"],
        groups["neuron"],
        n_unscored_features=int(attempted.get("feature", 0)) - len(groups["feature"]),
        n_unscored_neurons=int(attempted.get("neuron", 0)) - len(groups["neuron"]),
        seed=_SEED,
        level=level,
    )
    if isinstance(found, Unscored):
        empty = dict.fromkeys(("difference", "ci_low", "ci_high", "p_value", "effect_size"))
        return {**empty, "detail": found.detail}
    return {
        "difference": found.mean_difference.value,
        "ci_low": found.mean_difference.interval.low,
        "ci_high": found.mean_difference.interval.high,
        "p_value": found.p_value,
        "effect_size": found.cliffs_delta.value,
        "effect_size_name": "cliffs_delta",
        "effect_size_ci_low": found.cliffs_delta.interval.low,
        "effect_size_ci_high": found.cliffs_delta.interval.high,
        "median_difference": found.median_difference.value,
        "median_ci_low": found.median_difference.interval.low,
        "median_ci_high": found.median_difference.interval.high,
        "n_features": found.n_features,
        "n_neurons": found.n_neurons,
    }


def _gap(own: pd.DataFrame, control: pd.DataFrame, level: float) -> dict[str, Any]:
    """Own score less control score of the same units, where both are there."""
    both = own.merge(control, on="unit", suffixes=("", "_control"))
    paired = both[(both["status"] == "scored") & (both["status_control"] == "scored")]
    gap = compare_paired(
        paired["value"].to_numpy(),
        paired["value_control"].to_numpy(),
        n_unpaired=len(both) - len(paired),
        seed=_SEED,
        level=level,
    )
    if isinstance(gap, Unscored):
        return {"mean": None, "ci_low": None, "ci_high": None, "p_value": None, "n_pairs": len(paired)}
    return {
        "mean": gap.mean_gap.value,
        "ci_low": gap.mean_gap.interval.low,
        "ci_high": gap.mean_gap.interval.high,
        "p_value": gap.wilcoxon_p_value,
        "n_pairs": gap.n_pairs,
    }


def _rankings(folder: Path, level: float, places: int | None) -> dict[str, list[dict[str, Any]]]:
    """{scorer: the first places}, one scorer's table in memory at a time."""
    names, role = ranked_scorers(folder)
    return {name: list(standing(folder, name, role, level).places(places)) for name in names}
