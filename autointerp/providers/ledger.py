"""The table of every LLM call: what was asked, what was answered, what failed. A known request is never asked again.

One SQLite file in write-ahead mode with full synchronisation: what `Ledger.record` has returned for survives a kill and
a loss of power. Calls that end together are committed together, because it is the synchronisation that takes the time.

    calls   key, provider, model, status ("answered" or "failed"), request and reply (canonical JSON), error, usage,
            cost_usd, asked_at (UTC), seconds

A key has at most one answered call (the first recorded stays) and any number of failed ones, which answer nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from autointerp.errors import (
    BadReply,
    ContextOverflow,
    LedgerError,
    ProviderError,
    RateLimited,
    Transient,
    Unsupported,
    WaitedTooLong,
)
from autointerp.protocols import Reply, Request, request_key
from autointerp.providers.ledger_database import calls, explained, insert_new, open_database
from autointerp.providers.wire import reply_from_json, reply_to_json, request_from_json, request_to_json
from autointerp.types import Usage

__all__ = ["Ledger", "LedgerStatistics", "ModelStatistics"]

# Failures a replay repeats. Those that stop a job (a wrong key, no credit) say nothing of the request.
_REPEATED = (ProviderError, Unsupported, Transient, RateLimited, WaitedTooLong, BadReply, ContextOverflow)
_FAILURES = {cls.__name__: cls for cls in _REPEATED}

_CHUNK = 500  # rows held in memory at a time


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """Calls of one model. cost_usd: sum of the known costs; unpriced: answered calls without one."""

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


class Ledger:
    """Use as `async with Ledger(path) as ledger`. Every method raises LedgerError, with the file and what to do.

    One object serves all models of a run, so that identical requests in flight find one another.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._engine = open_database(self.path)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._pending: list[tuple[Mapping[str, Any], asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None
        self._in_flight: dict[str, asyncio.Task[Reply]] = {}

    async def __aenter__(self) -> Ledger:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for the calls in flight and their records, then closes the file."""
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
        if self._flush is not None and not self._flush.done():
            await asyncio.wait([self._flush])
        self._writer.shutdown()
        self._engine.dispose()

    def get(self, key: str) -> Reply | None:
        """The recorded reply to a request, or None."""
        found = self._one(select(calls.c.reply).where(calls.c.key == key, calls.c.status == "answered"))
        if found is None:
            return None
        try:
            return reply_from_json(found["reply"])
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{self.path}: the reply of call {key} is damaged: import the ledger again") from error

    def failure(self, key: str) -> ProviderError | None:
        """The last recorded failure of a request as the error it was, or None: a replay raises it again."""
        failed = select(calls.c.error).where(calls.c.key == key, calls.c.status == "failed")
        found = self._one(failed.order_by(calls.c.asked_at.desc()).limit(1))
        if found is None:
            return None
        name, _, message = str(found["error"]).partition(": ")
        kind = _FAILURES.get(name)
        return None if kind is None else kind(message)

    async def record(
        self,
        provider: str,
        request: Request,
        outcome: Reply | ProviderError,
        *,
        asked_at: datetime,
        seconds: float,
        cost_usd: float | None = None,
    ) -> None:
        """Writes one call. When this returns the call is on the disk; a failure to write is raised.

        asked_at: an aware time; seconds: how long the call took; cost_usd: None where the price is unknown.
        """
        row = _row(provider, request, outcome, asked_at, seconds, cost_usd)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((row, done))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._write_pending())
        await done

    async def joined(self, key: str, ask: Callable[[], Awaitable[Reply]]) -> tuple[Reply, bool]:
        """The reply of `ask()`, run once for all who wait for the same key; and whether this caller started it.

        A caller that is cancelled leaves the call running: it is paid for, so its reply is recorded.
        """
        task = self._in_flight.get(key)
        started = task is None
        if task is None:
            task = asyncio.create_task(_awaited(ask))
            self._in_flight[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task), started

    def rows(self) -> Iterator[RowMapping]:
        """All calls, ordered by key, then status, time and error: the order of an export."""
        order = (calls.c.key, calls.c.status, calls.c.asked_at, calls.c.error)
        with explained(self.path), self._engine.connect() as connection:
            yield from connection.execution_options(yield_per=_CHUNK).execute(select(calls).order_by(*order)).mappings()

    def insert(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Adds calls read from an export in one transaction; known ones stay as they are. Returns how many were new."""
        with explained(self.path), self._engine.begin() as connection:
            before = _count(connection)
            remaining = iter(rows)
            while batch := list(islice(remaining, _CHUNK)):
                insert_new(connection, batch)
            return _count(connection) - before

    def verify(self) -> list[str]:
        """What is wrong: a line for each call whose key is not that of its request, or whose JSON cannot be read."""
        problems = []
        for row in self.rows():
            try:
                key = request_key(row["provider"], request_from_json(row["request"]))
                if row["reply"] is not None:
                    reply_from_json(row["reply"])
            except (ValueError, KeyError, TypeError) as error:
                problems.append(f"{row['key']}: unreadable ({error})")
                continue
            if key != row["key"]:
                problems.append(f"{row['key']}: its request has the key {key}")
        return problems

    def statistics(self) -> LedgerStatistics:
        """Counts, tokens and known costs by model."""
        answered = calls.c.status == "answered"
        sums = [
            func.coalesce(func.sum(column).filter(answered), 0)
            for column in (
                calls.c.prompt_tokens,
                calls.c.completion_tokens,
                calls.c.cached_prompt_tokens,
                calls.c.cost_usd,
            )
        ]
        counts = [
            func.count().filter(condition)
            for condition in (answered, calls.c.status == "failed", answered & calls.c.cost_usd.is_(None))
        ]
        query = select(calls.c.provider, calls.c.model, *counts, *sums).group_by(calls.c.provider, calls.c.model)
        with explained(self.path), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(calls.c.provider, calls.c.model)).all()
        return LedgerStatistics(
            tuple(
                ModelStatistics(provider, model, good, bad, Usage(prompt, completion, cached), float(cost), unpriced)
                for provider, model, good, bad, unpriced, prompt, completion, cached, cost in rows
            )
        )

    def _one(self, query: Any) -> RowMapping | None:
        with explained(self.path), self._engine.connect() as connection:
            return connection.execute(query).mappings().first()

    def _landed(self, key: str, task: asyncio.Task[Reply]) -> None:
        del self._in_flight[key]
        if not task.cancelled():
            task.exception()  # seen, so that a failure whose callers were all cancelled is not reported as lost

    async def _write_pending(self) -> None:
        """Commits what has gathered, again and again until nothing has."""
        loop = asyncio.get_running_loop()
        while self._pending:
            batch, self._pending = self._pending, []
            commit = loop.run_in_executor(self._writer, self._commit, [row for row, _ in batch])
            await asyncio.wait([commit])
            error = commit.exception()  # whatever it is, nobody may be left waiting
            for done in (done for _, done in batch if not done.done()):
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _commit(self, rows: list[Mapping[str, Any]]) -> None:
        with explained(self.path), self._engine.begin() as connection:
            insert_new(connection, rows)


async def _awaited(ask: Callable[[], Awaitable[Reply]]) -> Reply:
    return await ask()


def _count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(calls)).scalar_one()


def _row(
    provider: str,
    request: Request,
    outcome: Reply | ProviderError,
    asked_at: datetime,
    seconds: float,
    cost_usd: float | None,
) -> Mapping[str, Any]:
    failed = isinstance(outcome, ProviderError)
    usage = Usage() if isinstance(outcome, ProviderError) else outcome.usage
    return {
        "key": request_key(provider, request),
        "provider": provider,
        "model": request.model,
        "status": "failed" if failed else "answered",
        "request": request_to_json(request),
        "reply": None if isinstance(outcome, ProviderError) else reply_to_json(outcome),
        "error": f"{type(outcome).__name__}: {outcome}" if failed else None,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_prompt_tokens": usage.cached_prompt_tokens,
        "cost_usd": cost_usd,
        "asked_at": asked_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "seconds": round(seconds, 3),
    }
