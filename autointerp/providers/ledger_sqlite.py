"""The ledger in one file of SQLite: write-ahead log, full synchronisation. Several processes may share it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, PoolProxiedConnection, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from autointerp.errors import LedgerError, NoLedger
from autointerp.providers.ledger_tables import calls, check_or_create

__all__ = ["SqliteDatabase"]

_INSERT = insert(calls).on_conflict_do_nothing()
# Prepared once for a connection, and some thirty times cheaper than the same query through an engine.
_ONE = "SELECT key, reply FROM calls WHERE key = ? AND status = 'answered'"
_MANY = "SELECT key, reply FROM calls WHERE key IN (SELECT value FROM json_each(?)) AND status = 'answered'"

# One statement records many calls: each one that runs hands Python's lock over and takes it back, for which a busy
# event loop makes it wait. A longer batch takes several statements.
_TOGETHER = 64
_COLUMNS = tuple(column.name for column in calls.columns if not column.primary_key)
_values_of = itemgetter(*_COLUMNS)

# What SQLite's result codes mean to a person, and what to do.
_MEANINGS = {
    sqlite3.SQLITE_NOTADB: "is not a ledger: name another file, or import an export into a new one",
    sqlite3.SQLITE_CORRUPT: "is corrupt: restore a copy, or import an export into a new file",
    sqlite3.SQLITE_BUSY: "is locked by another process: wait for it to end, or name another file",
    sqlite3.SQLITE_LOCKED: "is locked by another process: wait for it to end, or name another file",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: make room and start again; what was recorded is kept",
    sqlite3.SQLITE_IOERR: "cannot be read or written (is the disk full or gone?): what was recorded is kept",
    sqlite3.SQLITE_READONLY: "may not be written: change its permissions, or name another file",
    sqlite3.SQLITE_PERM: "may not be opened: change its permissions, or name another file",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: does its folder exist, and may you write there?",
}


class SqliteDatabase:
    """Implements `Database`."""

    remote = False

    def __init__(self, path: Path, *, create: bool, wait_s: float) -> None:
        self.name = str(path)
        if not create and not path.exists():
            raise NoLedger(f"{path}: no such ledger: name the one you mean, or import an export into a new one")
        self.engine = create_engine(URL.create("sqlite", database=self.name), connect_args={"timeout": wait_s})
        event.listen(self.engine, "connect", lambda connection, _: _configure(connection, wait_s))
        try:
            with self.explained(), self.engine.begin() as connection:
                check_or_create(connection, self.name, self.lock, create=create)
            with self.explained():
                self._reader, self._writer = self.engine.raw_connection(), self.engine.raw_connection()
                _driver(self._writer).isolation_level = None  # Python begins no transactions here
        except LedgerError:
            self.engine.dispose()
            raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
            raise LedgerError(f"{self.name}: {_MEANINGS.get(code, f'database error: {cause}')}") from error

    def lock(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def record(self, rows: Sequence[Mapping[str, Any]]) -> int:
        connection = _driver(self._writer)
        parts = [rows[first : first + _TOGETHER] for first in range(0, len(rows), _TOGETHER)]
        if len(parts) == 1:
            return _add(connection, rows)  # a transaction by itself
        try:
            connection.execute("BEGIN IMMEDIATE")
            new = sum(_add(connection, part) for part in parts)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return new

    def insert(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        return connection.execute(_INSERT, rows, execution_options={"preserve_rowcount": True}).rowcount

    def replies(self, keys: Sequence[str]) -> dict[str, str]:
        connection = _driver(self._reader)
        found = connection.execute(_ONE, keys) if len(keys) == 1 else connection.execute(_MANY, [json.dumps(keys)])
        return dict(found.fetchall())

    def damage(self) -> list[str]:
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [" ".join(str(line).split()) for line in found if line != "ok"]

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
        self.engine.dispose()


def _driver(connection: PoolProxiedConnection) -> sqlite3.Connection:
    found = connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def _add(connection: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    return connection.execute(_adding(len(rows)), [value for row in rows for value in _values_of(row)]).rowcount


@cache
def _adding(rows: int) -> str:
    row = f"({', '.join('?' * len(_COLUMNS))})"
    return f"INSERT INTO {calls.name} ({', '.join(_COLUMNS)}) VALUES {', '.join([row] * rows)} ON CONFLICT DO NOTHING"


def _configure(connection: sqlite3.Connection, wait_s: float) -> None:
    """The write-ahead log is a property of the file; SQLite does not wait for other processes to change it."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=FULL").close()
