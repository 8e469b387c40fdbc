"""The control every explanation is held against: the explanation of another unit, scored on this one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from autointerp.seeds import derive
from autointerp.types import Explanation, Reason, UnitId, Unscored

__all__ = ["LENDERS", "Lenders", "lenders", "other_explanation"]

LENDERS = 256
"""Units of a group that lend their explanations to the others, at most: a choice among so many is random enough, and
what is kept in memory does not grow with the group."""

_NOT_WORDS = re.compile(r"[\W_]+")


def lenders(units: Sequence[UnitId], seed: int, most: int = LENDERS) -> tuple[UnitId, ...]:
    """The units of a group whose explanations may be lent, by the seed, in the order given; all where they are few.

    With a further unit in the group at most one lender changes.
    """
    if len(units) <= most:
        return tuple(units)
    chosen = set(sorted(units, key=lambda unit: (derive(seed, "lender", str(unit)), unit))[:most])
    return tuple(unit for unit in units if unit in chosen)


class Lenders:
    """The explanations that units of one run lend to one another."""

    def __init__(self, explanations: Mapping[UnitId, Explanation | Unscored], seed: int) -> None:
        """explanations: of the units that lend; those without one are passed over."""
        self._seed = seed
        self._donors = [
            (donor, str(donor), explanation, _normalised(explanation.text))
            for donor, explanation in explanations.items()
            if isinstance(explanation, Explanation)
        ]

    def other(self, unit: UnitId, own: Explanation | Unscored | None) -> Explanation | Unscored:
        """The explanation of another unit of the same kind, hook, subject and dictionary, chosen by the seed.

        own: the unit's, where it has one. `unit` never gets its own explanation, nor one that says the same up to case,
        spaces and punctuation. The choice is uniform over the donors, and depends on the seed and the units alone: with
        a further unit in the run most units keep their donor, and their recorded calls. Unscored(NO_CONTROL) where no
        unit can lend one.
        """
        name, said = str(unit), _normalised(own.text) if isinstance(own, Explanation) else None
        donors = (
            (derive(self._seed, "control", name, donor_name), donor, explanation)
            for donor, donor_name, explanation, says in self._donors
            if says != said and _may_lend(donor, unit)
        )
        chosen = min(donors, default=None, key=lambda one: one[:2])
        if chosen is None:
            return Unscored(
                Reason.NO_CONTROL, f"no other {unit.kind.value} of this run has another explanation to lend"
            )
        return chosen[2]


def other_explanation(
    unit: UnitId, explanations: Mapping[UnitId, Explanation | Unscored], seed: int
) -> Explanation | Unscored:
    """`Lenders.other` for one unit. explanations: of all units of the run, and the unit's own among them."""
    return Lenders(explanations, seed).other(unit, explanations.get(unit))


def _may_lend(donor: UnitId, unit: UnitId) -> bool:
    """Whether two units are different members of one population."""
    population = (unit.subject, unit.hook, unit.kind, unit.dictionary)
    return donor != unit and (donor.subject, donor.hook, donor.kind, donor.dictionary) == population


def _normalised(text: str) -> str:
    return _NOT_WORDS.sub(" ", text.casefold()).strip()
