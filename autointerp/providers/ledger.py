"""The table of every LLM call: what was asked, what was answered, what failed. A known request is never asked again.

A file of SQLite or a PostgreSQL database (`open_database`): what `Ledger.record` has returned for survives a kill and a
loss of power. Calls that end together are committed together, because it is the synchronisation that takes the time.

    calls   key, provider, model, status ("answered", "failed" or "repeated"), request and reply (canonical JSON),
            error, usage, cost_usd, asked_at (UTC), seconds, batch (the vendor's id of the batch that brought it; none:
            a live call)

A key has at most one answered call (the first recorded stays) and any number of failed ones, which answer nothing.
That holds for several processes on one ledger, too: who records a second answer is given the first, and the second,
which was paid as well, is kept as "repeated" (see `ledger_repeats`), which answers nothing either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, false, literal, select

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
from autointerp.providers.gathering import Gathered
from autointerp.providers.ledger_batches import BatchTable
from autointerp.providers.ledger_database import open_database
from autointerp.providers.ledger_repeats import REPEATED, REPLIED, repeats
from autointerp.providers.ledger_statistics import EVERY_CALL, LedgerStatistics, Selection, statistics_of, stored_time
from autointerp.providers.ledger_tables import calls, storable
from autointerp.providers.wire import (
    NamedRequest,
    named_request,
    reply_from_json,
    reply_to_json,
    request_from_json,
)
from autointerp.types import Usage

__all__ = ["Ledger"]

# Failures a replay repeats. Those that stop a job (a wrong key, no credit) say nothing of the request.
_REPEATED = (ProviderError, Unsupported, Transient, RateLimited, WaitedTooLong, BadReply, ContextOverflow)
_FAILURES = {cls.__name__: cls for cls in _REPEATED}

_CHUNK = 500  # rows held in memory at a time


class Ledger:
    """Use as `async with Ledger(path or URL) as ledger`. Every method raises LedgerError: which ledger, what to do.

    address: a file, or postgresql://USER@HOST/DATABASE; password_variable: the environment variable with that user's
    password (None: PGPASSWORD); create: whether a new one is made where there is none; wait_s: how long to wait for
    another process that holds it. `name` is what messages call it.
    One object serves all models of a run, so that identical requests in flight find one another.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        create: bool = True,
        password_variable: str | None = None,
        wait_s: float = 10.0,
    ) -> None:
        self._database = open_database(address, create=create, password_variable=password_variable, wait_s=wait_s)
        self.name = self._database.name
        self._writes = Gathered(self._write, "ledger-writer")
        self._reads = Gathered(self._read, "ledger-reader")
        self._in_flight: dict[str, asyncio.Task[Reply]] = {}
        self.batches = BatchTable(self._database)

    async def __aenter__(self) -> Ledger:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for the calls in flight and their records, then closes the database."""
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
        await self._writes.finish()
        await self._reads.finish()
        self._database.close()

    def check_writable(self) -> None:
        """Raises LedgerError where no call can be recorded now: an answer would be paid, and lost."""
        nothing = select(literal("")).where(false())
        with self._connected() as connection:
            connection.execute(calls.insert().from_select(["key"], nothing))

    def get(self, key: str) -> Reply | None:
        """The recorded reply to a request, or None."""
        return self._reply(key, self._read([key])[0])

    async def find(self, key: str) -> Reply | None:
        """As `get`; where the database is a server's, those who ask at the same time share one question to it."""
        if not self._database.remote:
            return self.get(key)
        return self._reply(key, await self._reads(key))

    def failure(self, key: str) -> ProviderError | None:
        """The last recorded failure of a request as the error it was, or None: a replay raises it again."""
        failed = select(calls.c.error).where(calls.c.key == key, calls.c.status == "failed")
        with self._connected() as connection:
            found = connection.execute(failed.order_by(calls.c.asked_at.desc()).limit(1)).scalar()
        if found is None:
            return None
        name, _, message = str(found).partition(": ")
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
        batch: str | None = None,
        named: NamedRequest | None = None,
    ) -> Reply | ProviderError:
        """Writes one call. When this returns the call is on the disk; a failure to write is raised.

        asked_at: an aware time; seconds: how long the call took; cost_usd: None where it is not known; batch: the
        vendor's id of the batch that brought it, None for a live call; named: `named_request` of provider and request,
        from who has it already. Returns what a replay will find: the outcome, or the reply that was there before it (of
        another process, say).
        """
        named = named or named_request(provider, request)
        row = _row(provider, request, named, outcome, asked_at, seconds, cost_usd, batch)
        first = await self._writes(row)
        return self._reply(row["key"], first) or outcome

    async def joined(self, key: str, ask: Callable[[], Coroutine[Any, Any, Reply]]) -> tuple[Reply, bool]:
        """The reply of `ask()`, run once for all who wait for the same key; and whether this caller started it.

        A caller that is cancelled leaves the call running: it is paid for, so its reply is recorded.
        """
        task = self._in_flight.get(key)
        started = task is None
        if task is None:
            task = asyncio.create_task(ask())
            self._in_flight[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task), started

    def rows(self, key: str | None = None) -> Iterator[RowMapping]:
        """All calls, or those of one request, ordered by key, then status, time and error: the order of an export."""
        query = select(calls).order_by(calls.c.key, calls.c.status, calls.c.asked_at, calls.c.error)
        with self._connected() as connection:
            chosen = query if key is None else query.where(calls.c.key == key)
            yield from connection.execution_options(yield_per=_CHUNK).execute(chosen).mappings()

    def sample(self, provider: str, model: str, most: int) -> Iterator[tuple[Request, Reply]]:
        """Some answered calls of a model, the first by their keys: no particular ones, and the same each time."""
        chosen = select(calls.c.request, calls.c.reply).where(
            calls.c.status == "answered", calls.c.provider == provider, calls.c.model == storable(model)
        )
        with self._connected() as connection:
            for row in connection.execute(chosen.order_by(calls.c.key).limit(most)):
                yield request_from_json(row.request), reply_from_json(row.reply)

    def keys(self, prefix: str, most: int) -> list[str]:
        """The keys that begin so, in order, `most` of them at most."""
        begins = calls.c.key.between(prefix, prefix + "g")  # keys are hexadecimal
        with self._connected() as connection:
            query = select(calls.c.key).where(begins).distinct().order_by(calls.c.key).limit(most)
            return list(connection.execute(query).scalars())

    def insert(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Adds calls read from an export in one transaction. Returns how many were new.

        Known ones stay as they are; of a request that another call has answered, the answer is added as repeated.
        """
        new, remaining = 0, iter(rows)
        with self._alone() as connection:
            while batch := list(islice(remaining, _CHUNK)):
                new += self._added(connection, batch)
        return new

    def verify(self) -> list[str]:
        """What is wrong: a line for each damage the database finds, and for each call that `_flaw` objects to."""
        with self._database.explained():
            problems = self._database.damage()
        return problems + [f"{row['key']}: {flaw}" for row in self.rows() if (flaw := _flaw(row))]

    def statistics(self, selection: Selection = EVERY_CALL) -> LedgerStatistics:
        """Counts, tokens and known costs by model."""
        with self._connected() as connection:
            return statistics_of(connection, selection)

    def prune(self, selection: Selection) -> LedgerStatistics:
        """Deletes the selected calls, all or none, and returns what they were. A request without its answer is new."""
        with self._alone() as connection:
            gone = statistics_of(connection, selection)
            connection.execute(calls.delete().where(selection.condition()))
        return gone

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._database.explained(), self._database.engine.connect() as connection:
            yield connection

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction beside which nobody writes."""
        with self._database.explained(), self._database.engine.begin() as connection:
            self._database.lock(connection)
            yield connection

    def _reply(self, key: str, text: str | None) -> Reply | None:
        try:
            return None if text is None else reply_from_json(text)
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{self.name}: the reply of call {key} is damaged: import the ledger again") from error

    def _read(self, keys: list[str]) -> list[str | None]:
        with self._database.explained():
            found = self._database.replies(keys)
        return [found.get(key) for key in keys]

    def _write(self, rows: list[Mapping[str, Any]]) -> list[str | None]:
        """Commits calls; for each one, the reply that was there before it. That there is one is rare: it costs more."""
        with self._database.explained():
            if self._database.record(rows) == len(rows):
                return [None] * len(rows)
            with self._database.engine.connect() as connection:
                seconds = repeats(connection, rows)
            if seconds:
                self._database.record(seconds)
            found = self._database.replies([row["key"] for row in rows if row["status"] == "answered"])
        return [found.get(row["key"]) if row["status"] == "answered" else None for row in rows]

    def _added(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        firsts = [row for row in rows if row["status"] != REPEATED]
        new = self._database.insert(connection, firsts) if firsts else 0
        if new == len(rows):
            return new
        seconds = repeats(connection, rows)
        return new + (self._database.insert(connection, seconds) if seconds else 0)

    def _landed(self, key: str, task: asyncio.Task[Reply]) -> None:
        del self._in_flight[key]
        if not task.cancelled():
            task.exception()  # seen, so that a failure whose callers were all cancelled is not reported as lost


def _flaw(row: RowMapping) -> str | None:
    """What is wrong with a call: its JSON, a key or model that is not its request's, a status that does not fit."""
    try:
        request = request_from_json(row["request"])
        key = request_key(row["provider"], request)
        if row["reply"] is not None:
            reply_from_json(row["reply"])
    except (ValueError, KeyError, TypeError) as error:
        return f"unreadable ({error})"
    if key != row["key"]:
        return f"its request has the key {key}"
    if storable(request.model) != row["model"]:
        return "its request is to another model"
    if (row["status"] in REPLIED) != (row["reply"] is not None):
        return f"its status {row['status']!r} does not fit its reply"
    return None


def _row(
    provider: str,
    request: Request,
    named: NamedRequest,
    outcome: Reply | ProviderError,
    asked_at: datetime,
    seconds: float,
    cost_usd: float | None,
    batch: str | None,
) -> Mapping[str, Any]:
    failed = isinstance(outcome, ProviderError)
    usage = outcome.usage or Usage()
    return {
        "key": named.key,
        "provider": provider,
        "model": storable(request.model),
        "status": "failed" if failed else "answered",
        "request": named.text,
        "reply": None if isinstance(outcome, ProviderError) else reply_to_json(outcome),
        "error": storable(f"{type(outcome).__name__}: {outcome}") if failed else None,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_prompt_tokens": usage.cached_prompt_tokens,
        "cost_usd": cost_usd,
        "asked_at": stored_time(asked_at),
        "seconds": round(seconds, 3),
        "batch": batch,
    }
