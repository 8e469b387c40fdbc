"""What a run found, from its tables alone: means with intervals, features against neurons, controls, rankings.

The document of `autointerp show --json`. Numbers that could not be computed are null with their counts beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from autointerp.results.manifest import read_manifest
from autointerp.results.tables import read_scores, write_atomically
from autointerp.stats import Candidate, Ranking, compare_groups, compare_paired, rank
from autointerp.stats import summarise as summarise_group
from autointerp.types import (
    Interval,
    Outcome,
    Provenance,
    RankedUnit,
    Reason,
    Role,
    Score,
    Scored,
    UnitId,
    Unscored,
    Usage,
)

__all__ = ["summarise", "write_ranking"]

_MAIN = (Role.EXPLANATION.value, Role.BASELINE.value)
_SEED = 0  # of the bootstrap over units; a run's summary is a function of its table
_CONSTANT = "constant"  # the second part of the names of the predictor that says the same everywhere


def summarise(folder: Path) -> dict[str, Any]:
    """The document of `show --json` for a run's folder. Raises BadInput where the folder holds no run."""
    frame = read_scores(folder)
    frame = frame[frame["primary"]]
    own = frame[frame["role"].isin(_MAIN) & frame["control_subject"].isna()]
    manifest = read_manifest(folder)
    level = float(manifest["statistics"]["level"])
    rankings = _rankings(frame, str(manifest["first_preset"]), level)
    return {
        "level": level,
        "summary": _by_kind(own, level),
        "comparison": {str(scorer): _comparison(rows, level) for scorer, rows in own.groupby("scorer", sort=True)},
        "controls": _controls(frame, own, level),
        "ranking": next(iter(rankings.values()), []),
        "rankings": rankings,
        "calls": manifest["calls"],
        **({"plan": manifest["plan"]} if "plan" in manifest else {}),
    }


def _by_kind(rows: pd.DataFrame, level: float) -> dict[str, dict[str, Any]]:
    """{kind: {scorer: numbers}}."""
    return {
        str(kind): {str(scorer): _numbers(group, level) for scorer, group in of_kind.groupby("scorer", sort=True)}
        for kind, of_kind in rows.groupby("kind", sort=True)
    }


def _numbers(rows: pd.DataFrame, level: float) -> dict[str, Any]:
    """Mean and median of the scored rows with intervals, and the counts and reasons of the others."""
    scored = rows.loc[rows["status"] == "scored", "value"].to_numpy()
    reasons = rows.loc[rows["status"] != "scored", "reason"].value_counts().sort_index()
    counts: dict[str, Any] = {
        "n_attempted": len(rows),
        "n_scored": len(scored),
        "unscored": {str(reason): int(n) for reason, n in reasons.items()},
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


def _controls(frame: pd.DataFrame, own: pd.DataFrame, level: float) -> dict[str, Any]:
    """{control: {kind: {scorer: numbers}}}; another's explanation also with the gap between own and control, paired."""
    found: dict[str, Any] = {}
    other = frame[frame["role"] == Role.OTHER_EXPLANATION.value]
    if len(other):
        found[Role.OTHER_EXPLANATION.value] = _by_kind(other, level)
        for kind, scorers in found[Role.OTHER_EXPLANATION.value].items():
            for scorer, numbers in scorers.items():
                numbers["gap"] = _gap(_of(own, kind, scorer), _of(other, kind, scorer), level)
    shuffled = frame[frame["control_subject"].notna()]
    if len(shuffled):
        found[Role.SHUFFLED_WEIGHTS.value] = _by_kind(shuffled, level)
    return found


def _of(rows: pd.DataFrame, kind: str, scorer: str) -> pd.DataFrame:
    return rows[(rows["kind"] == kind) & (rows["scorer"] == scorer)]


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


def _rankings(frame: pd.DataFrame, first: str, level: float) -> dict[str, list[dict[str, Any]]]:
    """{scorer: ranking} of the units' own explanations, the job's first protocol first; where no LLM took part, of the
    baselines."""
    role = Role.EXPLANATION.value if (frame["role"] == Role.EXPLANATION.value).any() else Role.BASELINE.value
    rows = frame[(frame["role"] == role) & frame["control_subject"].isna()]
    if role == Role.BASELINE.value:  # the constant ranks nothing, also where a protocol counts it as 0
        ranks = (rows["status"] == "scored") & (rows["scorer"].str.split(".").str[1] != _CONSTANT)
        rows = rows[rows["scorer"].isin(rows.loc[ranks, "scorer"])]
    names = sorted(set(rows["scorer"]), key=lambda name: (not name.startswith(first + "."), name.count("."), name))
    return {name: _ranking(rows[rows["scorer"] == name], frame[frame["scorer"] == name], level) for name in names}


def _ranking(own: pd.DataFrame, same_scorer: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    lent = same_scorer[same_scorer["role"] == Role.OTHER_EXPLANATION.value]
    controls = {score.unit: score for score in _scores(lent, level)}
    candidates = [Candidate(score, controls.get(score.unit)) for score in _scores(own, level)]
    ranking: Ranking = rank(candidates)
    return [_place(unit, ranking.scorer) for unit in ranking.ranked]


def _place(unit: RankedUnit, scorer: str) -> dict[str, Any]:
    interval = unit.score.interval
    return {
        "rank": unit.rank,
        "unit": str(unit.unit),
        "kind": unit.unit.kind.value,
        "score": unit.score.value,
        "ci_low": unit.lower_bound,
        "ci_high": None if interval is None else interval.high,
        "control_gap": unit.control_gap,
        "coverage": unit.coverage,
        "explanation": unit.explanation,
        "scorer": scorer,
    }


def _scores(frame: pd.DataFrame, level: float) -> list[Score]:
    # pandas reads a missing text as NaN, which is no text and no JSON.
    rows = frame.to_dict("records")
    return [
        _score({str(name): None if pd.isna(value) else value for name, value in row.items()}, level) for row in rows
    ]


def _score(row: Mapping[str, Any], level: float) -> Score:
    """A row of scores.parquet as the score it was; level: of the run's intervals."""
    return Score(
        unit=UnitId.parse(row["unit"]),
        scorer=row["scorer"],
        scorer_version=int(row["scorer_version"]),
        metric=row["metric"],
        outcome=_outcome(row, level),
        role=Role(row["role"]),
        attempted=int(row["attempted"]),
        failed=int(row["failed"]),
        explanation=row["explanation"],
        provenance=tuple(_provenance(one) for one in json.loads(row["provenance"])),
    )


def _outcome(row: Mapping[str, Any], level: float) -> Outcome:
    if row["status"] != "scored":
        return Unscored(Reason(row["reason"]), row["detail"] or "")
    interval = None
    if not pd.isna(row["ci_low"]):
        interval = Interval(row["ci_low"], row["ci_high"], level, method=row["ci_method"])
    return Scored(row["value"], interval, int(row["n_contexts"]), int(row["n_tokens"]))


def _provenance(one: Mapping[str, Any]) -> Provenance:
    return Provenance(**{**one, "request_keys": tuple(one["request_keys"]), "usage": Usage(**one["usage"])})


def write_ranking(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Writes ranking.csv: every scorer's ranking, one after another."""
    rows = [place for places in summary["rankings"].values() for place in places]
    columns = ["scorer", "rank", "unit", "kind", "score", "ci_low", "ci_high", "control_gap", "coverage", "explanation"]
    text = pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n")
    path = folder / "ranking.csv"
    write_atomically(path, text.encode("utf-8", "surrogatepass"))
    return path
