"""The ranking read from a table is the one that `stats.rank` makes of the same scores, and refuses the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.results.standing import Standing, standing
from autointerp.results.tables import Measured
from autointerp.stats import Candidate, rank
from autointerp.types import Interval, Kind, Provenance, Reason, Role, Score, Scored, UnitId, Unscored
from tests.support.results import write_scores

MADE = (Provenance("simulate@1", "simulate@1", "hash", "openai", "m", "m-1"),)


def unit(number: int) -> UnitId:
    kind = Kind.FEATURE if number % 2 else Kind.NEURON
    return UnitId(f"toy{number % 3}", "hook", kind, "sae" if kind is Kind.FEATURE else None, number)


def score(number: int, role: Role, value: float | None, low: float | None, **changes: Any) -> Score:
    interval = None if low is None else Interval(low, 1.0, 0.95, "made up")
    outcome = Unscored(Reason.REFUSAL, "no") if value is None else Scored(value, interval, 10, 160)
    made = Score(unit(number), "openai.simulation", 1, "pearson", outcome, role, 10, number % 4, f"text {number}", MADE)
    return replace(made, **changes)


def table(folder: Path, *scores: Score) -> Path:
    return write_scores(folder, [Measured(one, 0.01, primary=True) for one in scores])


def ranked(folder: Path) -> Standing:
    return standing(folder, "openai.simulation", Role.EXPLANATION, 0.95)


def test_places_are_those_of_the_ranking_of_the_same_scores(tmp_path: Path) -> None:
    """With ties in bound and value, and scores and controls that are missing or Unscored."""
    rng = np.random.default_rng(1)
    own, lent = [], {}
    for number in range(60):
        low = round(float(rng.uniform(-0.5, 0.5)), 1)
        value = None if number % 9 == 0 else low + round(float(rng.uniform(0, 0.3)), 1)
        own.append(score(number, Role.EXPLANATION, value, None if number % 7 == 0 else low))
        if number % 5:
            lent[number] = score(number, Role.OTHER_EXPLANATION, None if number % 4 == 0 else 0.1, None)
    table(tmp_path, *own, *lent.values())
    expected = rank([Candidate(one, lent.get(number)) for number, one in enumerate(own)])
    found = ranked(tmp_path)
    assert len(found) == len(expected.ranked) > 30
    assert list(found.places()) == [
        {
            "rank": place.rank,
            "unit": str(place.unit),
            "kind": place.unit.kind.value,
            "score": place.score.value,
            "ci_low": place.lower_bound,
            "ci_high": 1.0,
            "control_gap": place.control_gap,
            "coverage": place.coverage,
            "explanation": place.explanation,
            "scorer": "openai.simulation",
        }
        for place in expected.ranked
    ]
    assert [place["rank"] for place in found.places(2)] == [1, 2]
    some = {str(expected.ranked[place].unit) for place in (4, 30)} | {"unknown"}
    assert [place["rank"] for place in found.places_of(some)] == [5, 31]


def test_a_table_in_which_nothing_can_be_ranked_has_no_places(tmp_path: Path) -> None:
    table(tmp_path, score(1, Role.EXPLANATION, None, None), score(2, Role.EXPLANATION, 0.5, None))
    assert list(ranked(tmp_path).places()) == []


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"scorer_version": 2}, "mix scorer versions 1"),
        ({"metric": "spearman"}, "mix metrics 'pearson'"),
        ({"provenance": (replace(MADE[0], prompt_hash="other"),)}, "mix simulate@1 prompts"),
        ({"provenance": (replace(MADE[0], model_asked="other"),)}, "mix simulate@1 models"),
        ({"provenance": (replace(MADE[0], provider="other"),)}, "mix simulate@1 models"),
        ({"outcome": Unscored(Reason.REFUSAL), "metric": "spearman"}, "mix metrics 'pearson'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_both_units(tmp_path: Path, other: dict[str, Any], what: str) -> None:
    far = score(5005, Role.EXPLANATION, 0.5, 0.4, **other)
    table(tmp_path, score(1, Role.EXPLANATION, 0.6, 0.5), far)
    with pytest.raises(BadInput, match=what) as caught:
        ranked(tmp_path)
    assert str(unit(1)) in str(caught.value)
    assert str(unit(5005)) in str(caught.value)


def test_models_served_under_one_name_are_ranked_together(tmp_path: Path) -> None:
    later = (replace(MADE[0], model_served="m-2"),)
    table(tmp_path, score(1, Role.EXPLANATION, 0.6, 0.5), score(2, Role.EXPLANATION, 0.7, 0.6, provenance=later))
    assert len(ranked(tmp_path)) == 2


def test_a_unit_twice_a_score_of_nothing_and_a_control_of_another_metric_are_refused(tmp_path: Path) -> None:
    one = score(1, Role.EXPLANATION, 0.6, 0.5)
    table(tmp_path, one, replace(one, explanation="again"))
    with pytest.raises(BadInput, match=f"unit {unit(1)} comes twice"):
        ranked(tmp_path)
    table(tmp_path, replace(one, attempted=0, failed=0))
    with pytest.raises(BadInput, match="no attempted context"):
        ranked(tmp_path)
    table(tmp_path, one, score(1, Role.OTHER_EXPLANATION, 0.1, None, metric="spearman"))
    with pytest.raises(BadInput, match=f"the control of unit {unit(1)} was scored with another"):
        ranked(tmp_path)
