"""Why explanations stayed without a score, in a line for each reason: what a person needs in order to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autointerp.results.reading import UnitKeys, score_batches
from autointerp.types import Reason, Role

__all__ = ["failures"]

_ROLES = (Role.EXPLANATION.value, Role.SHUFFLED_WEIGHTS.value)
_COLUMNS = ("unit", "index", "scorer", "primary", "role", "status", "reason", "detail")
_LAST = ("\U0010ffff", "", "")  # after every unit


def failures(folder: Path) -> list[str]:
    """One line for each reason for which a unit's own explanation has no score, the most frequent first.

    A line says for how many units, and what was said of the first of them. Reasons that belong to one sample set alone
    (such as a unit that is silent on the random records) are left to the table.
    """
    keys = UnitKeys()
    units: dict[str, set[int]] = {}
    first: dict[str, tuple[str, str, str]] = {}
    for batch in score_batches(folder, _COLUMNS):
        rows = batch.filter(_wanted(batch))
        for key, row in zip(keys.of(rows).tolist(), rows.to_pylist(), strict=True):
            reason, detail = _cause(row)
            units.setdefault(reason, set()).add(key)
            first[reason] = min(first.get(reason, _LAST), (row["unit"], row["scorer"], detail))
    ordered = sorted(units, key=lambda reason: (-len(units[reason]), reason))
    return [_line(reason, len(units[reason]), first[reason][0], first[reason][2]) for reason in ordered]


def _wanted(rows: pa.RecordBatch) -> pa.BooleanArray:
    whole = pc.equal(pc.count_substring(rows["scorer"], "."), 1)
    own = pc.is_in(rows["role"], pa.array(_ROLES))
    return pc.and_(pc.and_(rows["primary"], whole), pc.and_(own, pc.not_equal(rows["status"], "scored")))


def _cause(row: dict[str, Any]) -> tuple[str, str]:
    """(reason, detail) of a row: where there was no explanation, those of the explainer's failure."""
    reason, detail = str(row["reason"]), str(row["detail"] or "")
    first, _, rest = detail.partition(": ")
    if reason == Reason.NO_EXPLANATION.value and first in set(Reason):
        return first, rest
    return reason, detail


def _line(reason: str, n_units: int, first: str, detail: str) -> str:
    count = "1 unit has" if n_units == 1 else f"{n_units} units have"
    said = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in detail)
    return f"{count} no score, {reason.replace('_', ' ')} (first: {first})" + (f": {said}" if said else "")
