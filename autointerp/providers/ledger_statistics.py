"""What a ledger holds, by model, and which of its calls are meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select, true

from autointerp.providers.ledger_repeats import REPEATED, REPLIED
from autointerp.providers.ledger_tables import calls
from autointerp.types import Usage

__all__ = ["EVERY_CALL", "LedgerStatistics", "ModelStatistics", "Selection", "statistics_of", "stored_time"]


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """Calls of one model. repeated: answers to a request that had one. usage: of answered and repeated calls.

    cost_usd: sum of the known costs, of failed calls too (one whose answer could not be used is billed all the same),
    None where none is known; unpriced: answered and repeated calls without one.
    """

    provider: str
    model: str
    answered: int
    failed: int
    repeated: int
    usage: Usage
    cost_usd: float | None
    unpriced: int


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """What a ledger holds, by model, ordered by provider and name."""

    models: tuple[ModelStatistics, ...]

    @property
    def answered(self) -> int:
        return sum(model.answered for model in self.models)

    @property
    def failed(self) -> int:
        return sum(model.failed for model in self.models)

    @property
    def repeated(self) -> int:
        return sum(model.repeated for model in self.models)

    @property
    def calls(self) -> int:
        """All of them."""
        return self.answered + self.failed + self.repeated


@dataclass(frozen=True, slots=True)
class Selection:
    """Calls that fit everything that is named. model: as it was asked; before: asked earlier (an aware time)."""

    model: str | None = None
    before: datetime | None = None
    failed_only: bool = False

    def condition(self) -> ColumnElement[bool]:
        parts: list[ColumnElement[bool]] = [true()]
        if self.model is not None:
            parts.append(calls.c.model == self.model)
        if self.before is not None:
            parts.append(calls.c.asked_at < stored_time(self.before))
        if self.failed_only:
            parts.append(calls.c.status == "failed")
        return and_(*parts)


EVERY_CALL = Selection()


def stored_time(time: datetime) -> str:
    """An aware time as the ledger holds it: UTC in one form, so that its order is that of the text."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def statistics_of(connection: Connection, selection: Selection) -> LedgerStatistics:
    """Counts, tokens and known costs of the selected calls."""
    replied = calls.c.status.in_(REPLIED)
    counts = [
        *(func.count().filter(calls.c.status == status) for status in ("answered", "failed", REPEATED)),
        func.count().filter(replied & calls.c.cost_usd.is_(None)),
    ]
    sums = [
        func.coalesce(func.sum(column).filter(replied), 0)
        for column in (calls.c.prompt_tokens, calls.c.completion_tokens, calls.c.cached_prompt_tokens)
    ]
    by = (calls.c.provider, calls.c.model)
    query = select(*by, *counts, *sums, func.sum(calls.c.cost_usd))
    rows = connection.execute(query.where(selection.condition()).group_by(*by).order_by(*by))
    return LedgerStatistics(
        tuple(
            ModelStatistics(
                provider, model, answered, failed, repeated, Usage(*map(int, tokens)), _known(cost), unpriced
            )
            for provider, model, answered, failed, repeated, unpriced, *tokens, cost in rows
        )
    )


def _known(cost: Any) -> float | None:
    return None if cost is None else float(cost)
