"""Units in order, by the low end of their score's interval.

A unit is above another where more of its score is certain: ten lucky contexts do not outrank sixty good ones. Even so
the first places of a long list hold the lucky ones of many; their scores will be lower on another draw of the corpus,
and a difference of a few places means nothing where intervals overlap.

Only scores of one scorer, version, metric, role, interval level and protocol (prompts, providers and models asked) are
comparable. A list that mixes them is refused; models served under one name are out of the asker's hands, so they are
listed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.types import FloatArray, Interval, RankedUnit, Role, Score, Scored

__all__ = ["Alike", "Candidate", "Ranking", "Step", "order_by_bound", "rank"]

Step: TypeAlias = tuple[str, str, str, str, str]
"""What must agree of one step of a score: method, prompt id, prompt hash, provider, model asked."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A score to be ranked, and the same unit's score under one control (None where there is none)."""

    score: Score
    control: Score | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A ranking and what it compares.

    ranked: best first, ranks 1, 2, ...; without_interval: scored, but without a lower bound to rank by; unscored: no
    value; both in the order of their units' names. models_served: as the servers named them, sorted. An empty ranking
    has scorer "" and metric "".
    """

    scorer: str
    scorer_version: int
    metric: str
    models_served: tuple[str, ...]
    ranked: tuple[RankedUnit, ...]
    without_interval: tuple[Candidate, ...]
    unscored: tuple[Candidate, ...]

    @property
    def n_attempted(self) -> int:
        return len(self.ranked) + len(self.without_interval) + len(self.unscored)


def rank(candidates: Sequence[Candidate]) -> Ranking:
    """Orders units by lower bound; ties by value, descending, then by the unit's canonical string, ascending.

    Raises BadInput, naming both, where two candidates are not comparable, where a unit comes twice, or where a
    control is not one of the same unit, scorer, version and metric.
    """
    _check_alike(candidates)
    for candidate in candidates:
        _check_control(candidate)
    ordered = sorted(candidates, key=lambda candidate: str(candidate.score.unit))
    placed, without_interval, unscored = [], [], []
    for candidate in ordered:
        outcome = candidate.score.outcome
        if not isinstance(outcome, Scored):
            unscored.append(candidate)
        elif outcome.interval is None:
            without_interval.append(candidate)
        else:
            placed.append((candidate, outcome, outcome.interval))
    bounds, values = ([entry[2].low for entry in placed], [entry[1].value for entry in placed])
    placed = [placed[place] for place in order_by_bound(np.array(bounds), np.array(values))]
    first = ordered[0].score if ordered else None
    return Ranking(
        scorer=first.scorer if first else "",
        scorer_version=first.scorer_version if first else 0,
        metric=first.metric if first else "",
        models_served=tuple(sorted({p.model_served for c in ordered for p in c.score.provenance if p.model_served})),
        ranked=tuple(_ranked(place, *entry) for place, entry in enumerate(placed, start=1)),
        without_interval=tuple(without_interval),
        unscored=tuple(unscored),
    )


def _ranked(place: int, candidate: Candidate, scored: Scored, interval: Interval) -> RankedUnit:
    score, control = candidate.score, candidate.control
    against = control.outcome if control is not None else None
    return RankedUnit(
        rank=place,
        unit=score.unit,
        lower_bound=interval.low,
        score=scored,
        coverage=(score.attempted - score.failed) / score.attempted,
        control_gap=scored.value - against.value if isinstance(against, Scored) else None,
        explanation=score.explanation,
    )


def order_by_bound(lower_bound: FloatArray, value: FloatArray) -> NDArray[np.intp]:
    """The order of units [n] that come in the order of their names: by lower bound, then by value, both descending."""
    return np.lexsort((-value, -lower_bound))  # stable: equals stay in the order of their names


class Alike:
    """Refuses what cannot stand in one ranking, score by score, and keeps of all scores only what they share."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Hashable, str]] = {}

    def add(
        self, unit: str, scorer: str, version: int, metric: str, role: str, level: float | None, steps: Iterable[Step]
    ) -> None:
        """Checks a score against those before it. level: of its interval, None where it has none; steps: of its
        provenance. What a score does not have is not compared. Raises BadInput, naming both units."""
        facts: list[tuple[str, Hashable]] = [
            ("scorer", scorer),
            ("scorer version", version),
            ("metric", metric),
            ("role", role),
        ]
        if level is not None:
            facts.append(("interval level", level))
        made = set(steps)
        for method in sorted({step[0] for step in made}):
            facts.append((f"{method} prompt", tuple(sorted({step[1:3] for step in made if step[0] == method}))))
            facts.append((f"{method} model", tuple(sorted({step[3:] for step in made if step[0] == method}))))
        for what, value in facts:
            before, other = self._seen.setdefault(what, (value, unit))
            if before != value:
                raise BadInput(
                    f"a ranking cannot mix {what}s {before!r} (unit {other}) and {value!r} (unit {unit}): "
                    "rank them apart"
                )


def _check_alike(candidates: Sequence[Candidate]) -> None:
    alike = Alike()
    units = set()
    for score in (candidate.score for candidate in candidates):
        if score.unit in units:
            raise BadInput(f"unit {score.unit} comes twice in one ranking: rank one score per unit")
        units.add(score.unit)
        if isinstance(score.outcome, Scored) and score.attempted < 1:
            raise BadInput(f"unit {score.unit} is scored on no attempted context: its coverage is unknown")
        interval = score.outcome.interval if isinstance(score.outcome, Scored) else None
        steps = [
            (one.method, one.prompt_id, one.prompt_hash, one.provider, one.model_asked) for one in score.provenance
        ]
        level = None if interval is None else interval.level
        alike.add(str(score.unit), score.scorer, score.scorer_version, score.metric, score.role.value, level, steps)


def _check_control(candidate: Candidate) -> None:
    score, control = candidate.score, candidate.control
    if control is None:
        return
    if (control.scorer, control.scorer_version, control.metric) != (score.scorer, score.scorer_version, score.metric):
        raise BadInput(
            f"the control of unit {score.unit} was scored with another scorer, version or metric: score it anew"
        )
    if control.unit != score.unit:
        raise BadInput(f"the control given for unit {score.unit} is of unit {control.unit}: pair each with its own")
    if control.role in (Role.EXPLANATION, score.role):
        raise BadInput(f"the control of unit {score.unit} has the role {control.role.value!r}: pass a control's score")
