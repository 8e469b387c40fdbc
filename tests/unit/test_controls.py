"""Controls: another unit's explanation, chosen by the seed, and never the unit's own."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.controls import LENDERS, Lenders, lenders, other_explanation
from autointerp.types import Explanation, Kind, Reason, UnitId, Unscored
from tests.support.method import explanation, unit

Lending = dict[UnitId, Explanation | Unscored]


def lending(*texts: str, kind: Kind = Kind.NEURON) -> Lending:
    return {unit(index, kind): explanation(text, unit(index, kind)) for index, text in enumerate(texts)}


@given(st.integers(0, 2**32))
def test_peer_defect_the_shuffled_explanation_is_never_the_units_own(seed: int) -> None:
    explanations = lending("months", "colours", "verbs")
    for one in explanations:
        other = other_explanation(one, explanations, seed)
        assert isinstance(other, Explanation)
        assert other.unit != one


@pytest.mark.parametrize("text", ["names of months", "Names of  Months.", " names-of months", '"names of months"'])
def test_an_explanation_that_says_the_same_is_no_control(text: str) -> None:
    explanations = lending("names of months", text)
    outcome = other_explanation(unit(0), explanations, 0)
    assert isinstance(outcome, Unscored)
    assert outcome.reason is Reason.NO_CONTROL
    assert other_explanation(unit(0), explanations | lending("months", text, "verbs"), 0) != outcome


def test_donors_without_an_explanation_are_passed_over() -> None:
    explanations: Lending = {**lending("months", "verbs"), unit(7): Unscored(Reason.REFUSAL)}
    for seed in range(50):
        other = other_explanation(unit(0), explanations, seed)
        assert isinstance(other, Explanation)
        assert other.unit == unit(1)


def test_a_unit_without_an_explanation_of_its_own_still_has_a_control() -> None:
    explanations: Lending = {**lending("months", "verbs"), unit(7): Unscored(Reason.REFUSAL)}
    assert isinstance(other_explanation(unit(7), explanations, 0), Explanation)


def test_only_units_of_the_same_population_lend() -> None:
    shuffled = UnitId("subject-shuffled", unit().hook, Kind.NEURON, None, 1)
    explanations: Lending = {
        unit(0): explanation("months"),
        unit(1, Kind.FEATURE): explanation("verbs", unit(1, Kind.FEATURE)),
        shuffled: explanation("colours", shuffled),
    }
    outcome = other_explanation(unit(0), explanations, 0)
    assert outcome == Unscored(Reason.NO_CONTROL, "no other neuron of this run has another explanation to lend")


def test_the_choice_depends_on_the_seed_and_not_on_the_order() -> None:
    explanations = lending(*[f"text {letter}" for letter in "abcdefgh"])
    turned = dict(reversed(explanations.items()))
    chosen = [other_explanation(unit(0), explanations, seed) for seed in range(20)]
    assert chosen == [other_explanation(unit(0), turned, seed) for seed in range(20)]
    assert len({other.unit for other in chosen if isinstance(other, Explanation)}) > 3


def test_the_choice_is_uniform() -> None:
    explanations = lending(*[f"text {letter}" for letter in "abcde"])
    counts = Counter(other_explanation(unit(0), explanations, seed).unit.index for seed in range(2000))  # type: ignore[union-attr]
    assert set(counts) == {1, 2, 3, 4}
    assert all(400 < count < 600 for count in counts.values())  # 500 expected, five standard deviations are 97


def test_a_further_unit_leaves_most_choices_as_they_were() -> None:
    texts = [f"text {number}" for number in range(41)]
    before, after = lending(*texts[:40]), lending(*texts)
    kept = sum(other_explanation(one, before, 0) == other_explanation(one, after, 0) for one in before)
    assert kept >= 35


def test_of_a_large_group_so_many_lend_and_a_further_unit_changes_at_most_one_of_them() -> None:
    units = [unit(index) for index in range(1000)]
    before, after = lenders(units, 0, 64), lenders([*units, unit(1000)], 0, 64)
    assert len(before) == len(after) == 64
    assert len(set(before) - set(after)) <= 1
    assert list(before) == sorted(before, key=units.index)
    assert len({lenders(units, seed, 64) for seed in range(10)}) == 10


def test_any_unit_of_a_large_group_may_lend() -> None:
    units = [unit(index) for index in range(40)]
    counts = Counter(chosen.index for seed in range(2000) for chosen in lenders(units, seed, 10))
    assert set(counts) == set(range(40))
    assert all(400 < count < 600 for count in counts.values())  # 500 expected, five standard deviations are 97


def test_a_group_that_is_not_large_lends_as_a_whole() -> None:
    units = [unit(index) for index in range(LENDERS)]
    assert lenders(units, 0) == tuple(units)
    assert len(lenders([*units, unit(LENDERS)], 0)) == LENDERS


def test_a_unit_that_does_not_lend_borrows_as_one_that_does() -> None:
    """The choice for a unit is the same whether or not its own explanation is among those that are lent."""
    explanations = lending(*[f"text {letter}" for letter in "abcdefgh"])
    others = {donor: text for donor, text in explanations.items() if donor != unit(0)}
    for seed in range(20):
        chosen = Lenders(others, seed).other(unit(0), explanations[unit(0)])
        assert chosen == other_explanation(unit(0), explanations, seed)
