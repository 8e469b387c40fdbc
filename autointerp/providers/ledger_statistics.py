"""What a ledger holds, by model, and which of its calls are meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, and_, func, select, true

from autointerp.providers.ledger_tables import calls
from autointerp.types import Usage

__all__ = ["EVERY_CALL", "LedgerStatistics", "ModelStatistics", "Selection", "statistics_of", "stored_time"]


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """Calls of one model. usage: of the answered ones. cost_usd: sum of the known costs, of failed calls too (one whose
    answer could not be used is billed all the same); unpriced: answered calls without one."""

    provider: str
    model: str
    answered: int
    failed: int
    usage: Usage
    cost_usd: float
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
    answered = calls.c.status == "answered"
    counts = [
        func.count().filter(condition)
        for condition in (answered, calls.c.status == "failed", answered & calls.c.cost_usd.is_(None))
    ]
    sums = [
        func.coalesce(func.sum(column).filter(answered), 0)
        for column in (calls.c.prompt_tokens, calls.c.completion_tokens, calls.c.cached_prompt_tokens)
    ]
    sums.append(func.coalesce(func.sum(calls.c.cost_usd), 0))
    by = (calls.c.provider, calls.c.model)
    rows = connection.execute(select(*by, *counts, *sums).where(selection.condition()).group_by(*by).order_by(*by))
    return LedgerStatistics(
        tuple(
            ModelStatistics(provider, model, good, bad, Usage(*map(int, tokens)), float(cost), unpriced)
            for provider, model, good, bad, unpriced, *tokens, cost in rows
        )
    )
