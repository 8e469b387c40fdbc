"""Why explanations stayed without a score, in a line for each reason: what a person needs in order to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autointerp.results.tables import read_scores
from autointerp.types import Reason, Role

__all__ = ["failures"]

_ROLES = (Role.EXPLANATION.value, Role.SHUFFLED_WEIGHTS.value)


def failures(folder: Path) -> list[str]:
    """One line for each reason for which a unit's own explanation has no score, the most frequent first.

    A line says for how many units, and what was said of the first of them. Reasons that belong to one sample set alone
    (such as a unit that is silent on the random records) are left to the table.
    """
    frame = read_scores(folder)
    whole = frame["scorer"].map(lambda name: name.count(".") == 1)
    rows = frame[frame["primary"] & whole & frame["role"].isin(_ROLES) & (frame["status"] != "scored")]
    found: dict[str, dict[str, str]] = {}
    for row in rows.sort_values(["unit", "scorer"]).to_dict("records"):
        reason, detail = _cause({str(name): value for name, value in row.items()})
        found.setdefault(reason, {}).setdefault(row["unit"], detail)
    ordered = sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
    return [_line(reason, units) for reason, units in ordered]


def _cause(row: dict[str, Any]) -> tuple[str, str]:
    """(reason, detail) of a row: where there was no explanation, those of the explainer's failure."""
    reason, detail = str(row["reason"]), str(row["detail"] or "")
    first, _, rest = detail.partition(": ")
    if reason == Reason.NO_EXPLANATION.value and first in set(Reason):
        return first, rest
    return reason, detail


def _line(reason: str, units: dict[str, str]) -> str:
    first, detail = next(iter(units.items()))
    count = "1 unit has" if len(units) == 1 else f"{len(units)} units have"
    said = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in detail)
    return f"{count} no score, {reason.replace('_', ' ')} (first: {first})" + (f": {said}" if said else "")
