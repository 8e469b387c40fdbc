"""Order, ties, what is left out and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autointerp.errors import BadInput
from autointerp.stats import Candidate, rank
from autointerp.types import Interval, Kind, Provenance, Reason, Role, Score, Scored, UnitId, Unscored

PROVENANCE = Provenance("simulation", prompt_id="p", prompt_hash="h", provider="x", model_asked="m", model_served="m-1")


def unit(index: int, kind: Kind = Kind.FEATURE) -> UnitId:
    return UnitId("toy", "blocks.0.mlp.hook_post", kind, "sae" if kind is Kind.FEATURE else None, index)


def score(index: int, value: float, low: float | None, **changes: Any) -> Score:
    interval = None if low is None else Interval(low, 1.0, 0.95, "m")
    made = Score(
        unit=unit(index),
        scorer="openai.simulation",
        scorer_version=1,
        metric="pearson",
        outcome=Scored(value, interval, 10, 640),
        role=Role.EXPLANATION,
        attempted=10,
        failed=2,
        explanation=f"text {index}",
        provenance=(PROVENANCE,),
    )
    return replace(made, **changes)


def control(index: int, value: float, **changes: Any) -> Score:
    return score(index, value, -1.0, role=Role.OTHER_EXPLANATION, **changes)


def test_units_are_ordered_by_the_low_end_not_by_the_value() -> None:
    found = rank([Candidate(score(1, 0.9, 0.1)), Candidate(score(2, 0.5, 0.4)), Candidate(score(3, 0.7, 0.2))])
    assert [(r.rank, r.unit.index, r.lower_bound) for r in found.ranked] == [(1, 2, 0.4), (2, 3, 0.2), (3, 1, 0.1)]
    assert (found.scorer, found.scorer_version, found.metric) == ("openai.simulation", 1, "pearson")


def test_ties_go_by_value_and_then_by_name_whatever_the_order_given() -> None:
    candidates = [Candidate(score(i, v, 0.2)) for i, v in [(3, 0.5), (20, 0.5), (1, 0.6), (2, 0.5)]]
    for order in (candidates, candidates[::-1]):
        # "20" comes before "3" as a string
        assert [r.unit.index for r in rank(order).ranked] == [1, 2, 20, 3]


def test_features_and_neurons_share_one_ranking() -> None:
    neuron = replace(score(1, 0.8, 0.5), unit=unit(1, Kind.NEURON))
    found = rank([Candidate(score(1, 0.6, 0.3)), Candidate(neuron)])
    assert [r.unit.kind for r in found.ranked] == [Kind.NEURON, Kind.FEATURE]


def test_coverage_and_control_gap_come_with_every_place() -> None:
    missing = replace(control(2, 0), outcome=Unscored(Reason.CONSTANT_PREDICTION))
    found = rank(
        [
            Candidate(score(1, 0.9, 0.5), control(1, 0.25)),
            Candidate(score(2, 0.8, 0.4), missing),
            Candidate(score(3, 0.7, 0.3)),
        ]
    )
    assert [r.control_gap for r in found.ranked] == [pytest.approx(0.65), None, None]
    assert [r.coverage for r in found.ranked] == [0.8] * 3
    assert found.ranked[0].explanation == "text 1"


def test_what_has_no_lower_bound_is_returned_apart() -> None:
    lost = replace(score(4, 0, None), outcome=Unscored(Reason.PARSE_FAILURE), attempted=0, failed=0)
    found = rank([Candidate(score(1, 0.9, None)), Candidate(lost), Candidate(score(2, 0.1, 0.0))])
    assert [r.unit.index for r in found.ranked] == [2]
    assert [c.score.unit.index for c in found.without_interval] == [1]
    assert [c.score.unit.index for c in found.unscored] == [4]
    assert found.n_attempted == 3


def test_nothing_to_rank_is_an_empty_ranking() -> None:
    assert rank([]).n_attempted == 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"scorer": "tm.simulation"}, "mix scorers 'openai.simulation'"),
        ({"scorer_version": 2}, "mix scorer versions 1"),
        ({"metric": "spearman"}, "mix metrics 'pearson'"),
        ({"role": Role.BASELINE}, "mix roles 'explanation'"),
        ({"outcome": Scored(0.5, Interval(0, 1, 0.9, "m"), 10, 640)}, "mix interval levels 0.95"),
        ({"provenance": (replace(PROVENANCE, prompt_hash="other"),)}, "mix simulation prompts"),
        ({"provenance": (replace(PROVENANCE, model_asked="other"),)}, "mix simulation models"),
        ({"provenance": (replace(PROVENANCE, provider="other"),)}, "mix simulation models"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_both_units(change: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what) as caught:
        rank([Candidate(score(1, 0.9, 0.5)), Candidate(replace(score(2, 0.8, 0.4), **change))])
    assert str(unit(1)) in str(caught.value)
    assert str(unit(2)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unscored_unit_of_another_metric_is_refused_too() -> None:
    lost = replace(score(2, 0, None), outcome=Unscored(Reason.REFUSAL), metric="spearman")
    with pytest.raises(BadInput, match="metrics"):
        rank([Candidate(score(1, 0.9, 0.5)), Candidate(lost)])


def test_models_served_are_listed_not_refused() -> None:
    later = (replace(PROVENANCE, model_served="m-2"),)
    found = rank([Candidate(score(1, 0.9, 0.5)), Candidate(score(2, 0.8, 0.4, provenance=later))])
    assert found.models_served == ("m-1", "m-2")


def test_steps_of_one_score_may_have_several_prompts_and_a_score_may_lack_a_step() -> None:
    steps = (PROVENANCE, replace(PROVENANCE, method="explain", prompt_hash="a"))
    found = rank([Candidate(score(1, 0.9, 0.5, provenance=steps)), Candidate(score(2, 0.8, 0.4))])
    assert len(found.ranked) == 2


def test_a_unit_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="twice"):
        rank([Candidate(score(1, 0.9, 0.5)), Candidate(score(1, 0.8, 0.4))])


@pytest.mark.parametrize(
    ("against", "what"),
    [
        (control(2, 0.1), "is of unit"),
        (control(1, 0.1, metric="spearman"), "another scorer, version or metric"),
        (score(1, 0.1, 0.0), "role 'explanation'"),
    ],
)
def test_a_control_must_be_the_same_units_under_the_same_metric(against: Score, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        rank([Candidate(score(1, 0.9, 0.5), against)])


def test_a_score_on_no_attempted_context_is_refused() -> None:
    with pytest.raises(BadInput, match="coverage"):
        rank([Candidate(score(1, 0.9, 0.5, attempted=0, failed=0))])
