"""Batches in the ledger: what is at a vendor, or may be, so that nothing of it is submitted again.

    register    the requests of a new batch, before anything is sent          state "intended"
    claim       one process is about to submit it                             state "submitting"
    submitted   the vendor's id is known                                      state "submitted"
    finish      its results are recorded, or it was refused: its requests     state "done" or "refused"
                are free again
    forget      given up, though the vendor may have run it: its requests     state "forgotten"
                are free again

A batch found as "intended" was never sent. One found as "submitting" may have been: whoever finds it looks at the
vendor's before he submits it. Several processes may use one ledger: the requests of a batch are in no other one, and
only who holds the claim submits. Every method commits before it returns, and raises LedgerError.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from autointerp.protocols import Request
from autointerp.providers.ledger_database import Database
from autointerp.providers.ledger_statistics import stored_time
from autointerp.providers.ledger_tables import batch_entries, batches, calls, storable
from autointerp.providers.wire import request_from_json, request_to_json

__all__ = ["SUBMITTING", "BatchRow", "BatchTable", "OpenBatch", "Registered"]

INTENDED, SUBMITTING, SUBMITTED = "intended", "submitting", "submitted"
DONE, REFUSED, FORGOTTEN = "done", "refused", "forgotten"
_OPEN = (INTENDED, SUBMITTING, SUBMITTED)
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that is not collected yet, with its requests by key. claimed_at: when `owner` said it would submit it."""

    token: str
    vendor_id: str | None
    state: str
    owner: str
    created_at: datetime
    claimed_at: datetime
    submitted_at: datetime | None
    requests: Mapping[str, Request]


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of requests that were to go into a new batch: those that did are all the others.

    elsewhere: in an open batch already, by its token; answered: recorded in the meantime. token: None where none is
    left.
    """

    token: str | None
    elsewhere: Mapping[str, str]
    answered: Sequence[str]


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch as a person wants to know it. Times are UTC in ISO format."""

    token: str
    provider: str
    model: str
    vendor_id: str | None
    state: str
    requests: int
    created_at: str
    submitted_at: str | None
    ended_at: str | None
    note: str | None


class BatchTable:
    """The batches of one ledger. Methods wait for the database: call them in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, owner: str, provider: str, model: str, requests: Mapping[str, Request]) -> Registered:
        """Notes down a batch of those requests that are in no open batch and have no answer; all or nothing."""
        token, now = secrets.token_hex(16), stored_time(datetime.now(UTC))
        with self._alone() as connection:
            answered = self._answered(connection, list(requests))
            elsewhere = self._elsewhere(connection, list(requests))
            free = [key for key in requests if key not in answered and key not in elsewhere]
            if not free:
                return Registered(None, elsewhere, sorted(answered))
            row = {"token": token, "provider": provider, "model": storable(model), "requests": len(free)}
            times = {"created_at": now, "claimed_at": now}
            connection.execute(batches.insert().values(**row, **times, state=INTENDED, owner=owner))
            for keys in _chunks(free):
                entries = [{"key": key, "token": token, "request": request_to_json(requests[key])} for key in keys]
                connection.execute(batch_entries.insert(), entries)
        return Registered(token, elsewhere, sorted(answered))

    def open(self, provider: str, model: str) -> list[str]:
        """Tokens of the open batches of a model, the oldest first."""
        of_it = (batches.c.provider == provider) & (batches.c.model == storable(model))
        with self._reading() as connection:
            query = select(batches.c.token).where(of_it & batches.c.state.in_(_OPEN)).order_by(batches.c.created_at)
            return list(connection.execute(query).scalars())

    def get(self, token: str) -> OpenBatch | None:
        """An open batch; None where it is not, or no more."""
        with self._reading() as connection:
            row = connection.execute(select(batches).where(batches.c.token == token)).mappings().first()
            if row is None or row["state"] not in _OPEN:
                return None
            entries = select(batch_entries.c.key, batch_entries.c.request).where(batch_entries.c.token == token)
            found = connection.execute(entries.order_by(batch_entries.c.key)).all()
        return OpenBatch(
            token=token,
            vendor_id=row["vendor_id"],
            state=row["state"],
            owner=row["owner"],
            created_at=datetime.fromisoformat(row["created_at"]),
            claimed_at=datetime.fromisoformat(row["claimed_at"]),
            submitted_at=None if row["submitted_at"] is None else datetime.fromisoformat(row["submitted_at"]),
            requests={str(key): request_from_json(request) for key, request in found},
        )

    def claim(self, seen: OpenBatch, owner: str) -> OpenBatch | None:
        """The batch as this owner's, who may submit it now; None where somebody did, or claimed it, since `seen`."""
        now = datetime.now(UTC)
        values = {"owner": owner, "claimed_at": stored_time(now), "state": SUBMITTING}
        if not self._update(_unclaimed_since(seen) & batches.c.vendor_id.is_(None), values):
            return None
        return replace(seen, owner=owner, claimed_at=now, state=SUBMITTING)

    def submitted(self, token: str, vendor_id: str) -> None:
        """The vendor has it under this id."""
        values = {"vendor_id": vendor_id, "submitted_at": stored_time(datetime.now(UTC)), "state": SUBMITTED}
        self._update((batches.c.token == token) & batches.c.state.in_(_OPEN), values)

    def finish(self, token: str, *, refused: bool = False, note: str | None = None) -> None:
        """Nothing more is to be had from it. Its requests may go into other batches from here on."""
        values = {
            "state": REFUSED if refused else DONE,
            "ended_at": stored_time(datetime.now(UTC)),
            "note": None if note is None else storable(note),
        }
        with self._alone() as connection:
            connection.execute(batches.update().where(batches.c.token == token).values(**values))
            connection.execute(batch_entries.delete().where(batch_entries.c.token == token))

    def forget(self, seen: OpenBatch) -> bool:
        """Gives it up; False where it was claimed, submitted or finished since `seen`. Its requests are free then."""
        values = {"state": FORGOTTEN, "ended_at": stored_time(datetime.now(UTC))}
        unchanged = _unclaimed_since(seen) & (batches.c.state == seen.state)
        with self._alone() as connection:
            given_up = connection.execute(batches.update().where(unchanged).values(**values)).rowcount
            if given_up:
                connection.execute(batch_entries.delete().where(batch_entries.c.token == seen.token))
        return bool(given_up)

    def vendor_ids(self) -> set[str]:
        """Every id that a vendor gave to a batch of this ledger."""
        with self._reading() as connection:
            query = select(batches.c.vendor_id).where(batches.c.vendor_id.is_not(None))
            return set(connection.execute(query).scalars())

    def rows(self) -> list[BatchRow]:
        """All batches, the oldest first."""
        names = BatchRow.__dataclass_fields__
        with self._reading() as connection:
            query = select(*(batches.c[name] for name in names)).order_by(batches.c.created_at, batches.c.token)
            return [BatchRow(**row) for row in connection.execute(query).mappings()]

    def _answered(self, connection: Connection, keys: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for some in _chunks(keys):
            query = select(calls.c.key).where(calls.c.key.in_(some), calls.c.status == "answered")
            found.update(connection.execute(query).scalars())
        return found

    def _elsewhere(self, connection: Connection, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for some in _chunks(keys):
            query = select(batch_entries.c.key, batch_entries.c.token).where(batch_entries.c.key.in_(some))
            found.update((str(key), str(token)) for key, token in connection.execute(query))
        return found

    def _update(self, condition: Any, values: Mapping[str, Any]) -> int:
        with self._alone() as connection:
            return int(connection.execute(batches.update().where(condition).values(**values)).rowcount)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        with self._database.explained(), self._database.engine.begin() as connection:
            self._database.lock(connection)
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._database.explained(), self._database.engine.connect() as connection:
            yield connection


def _unclaimed_since(seen: OpenBatch) -> ColumnElement[bool]:
    """It is open, and nobody has claimed it since."""
    return (
        (batches.c.token == seen.token)
        & (batches.c.owner == seen.owner)
        & (batches.c.claimed_at == stored_time(seen.claimed_at))
        & batches.c.state.in_(_OPEN)
    )


def _chunks(keys: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while some := list(islice(remaining, _CHUNK)):
        yield some
