"""The control every explanation is held against: the explanation of another unit, scored on this one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from autointerp.seeds import derive
from autointerp.types import Explanation, Reason, UnitId, Unscored

__all__ = ["LENDERS", "lenders", "other_explanation"]

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


def other_explanation(
    unit: UnitId, explanations: Mapping[UnitId, Explanation | Unscored], seed: int
) -> Explanation | Unscored:
    """The explanation of another unit of the same kind, hook, subject and dictionary, chosen by the seed.

    explanations: of the unit and of all lenders; units without one are passed over. `unit` never gets its own
    explanation, nor one that says the same up to case, spaces and punctuation. The choice is uniform over the donors,
    and depends on the seed and the units alone: with a further unit in the run most units keep their donor, and their
    recorded calls.
    Unscored(NO_CONTROL) where no unit can lend one.
    """
    own = explanations.get(unit)
    said = _normalised(own.text) if isinstance(own, Explanation) else None
    donors = {
        donor: explanation
        for donor, explanation in explanations.items()
        if isinstance(explanation, Explanation) and _may_lend(donor, unit) and _normalised(explanation.text) != said
    }
    if not donors:
        return Unscored(Reason.NO_CONTROL, f"no other {unit.kind.value} of this run has another explanation to lend")
    return donors[min(donors, key=lambda donor: (derive(seed, "control", str(unit), str(donor)), donor))]


def _may_lend(donor: UnitId, unit: UnitId) -> bool:
    """Whether two units are different members of one population."""
    population = (unit.subject, unit.hook, unit.kind, unit.dictionary)
    return donor != unit and (donor.subject, donor.hook, donor.kind, donor.dictionary) == population


def _normalised(text: str) -> str:
    return _NOT_WORDS.sub(" ", text.casefold()).strip()
