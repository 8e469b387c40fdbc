"""The ledger in a PostgreSQL database, for runs on more than one machine. Needs psycopg (the extra `postgres`).

The tables are made in the first schema of the connection's search path, so that one database can hold several ledgers
(`...?options=-csearch_path=NAME`). A password comes from the environment and is nowhere else: not in the URL, not in
this program's objects, messages or files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ArgumentError, DBAPIError

from autointerp.errors import LedgerError
from autointerp.providers.ledger_tables import calls, check_or_create

__all__ = ["PostgresDatabase", "is_url", "postgres_url"]

_CONNECT_S = 10
_FORM = "postgresql://USER@HOST:PORT/DATABASE"
_CREATION = 0x6175746F  # names the lock under which the tables are made
_INSERT = insert(calls).on_conflict_do_nothing()
_REPLIES = "SELECT key, reply FROM calls WHERE key = ANY(%s) AND status = 'answered'"

_WAIT = "SELECT set_config('lock_timeout', %s, false)"
# A session that does not wait for the server's disk would break the promise of `Ledger.record`.
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"

# What PostgreSQL's error codes (and their classes, two characters) mean to a person, and what to do.
_MEANINGS = {
    "53100": "cannot grow, the server's disk is full: make room and start again; what was recorded is kept",
    "53300": "the server takes no more connections: end others, or start again later",
    "55P03": "is locked by another process: wait for it to end, or name another ledger",
    "40P01": "is locked by another process: start again; what was recorded is kept",
    "25006": "may not be written, the server is read-only: name another ledger",
    "42501": "this user may not read and write it: grant it the tables and their schema, or name another user",
    "3F000": "there is no schema to hold it: create the one that the search path names",
    "57": "the server ended the connection: is it running? What was recorded is kept",
    "08": "the server ended the connection: is it running? What was recorded is kept",
    "XX": "is corrupt: restore a copy, or import an export into a new database",
}


def is_url(address: str) -> bool:
    """Whether an address is meant as a URL, not as a path."""
    return "://" in address


def postgres_url(text: str) -> URL:
    """The URL of a ledger. Raises LedgerError, which never repeats the text: it may hold a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise LedgerError(f"the ledger's URL cannot be read: write it as {_FORM}") from None
    if url.drivername not in ("postgresql", "postgres"):
        raise LedgerError(f"a ledger is a file or {_FORM}, and no {url.drivername}:// URL")
    if url.password is not None or {"password", "sslpassword"} & set(url.query):
        raise LedgerError("the ledger's URL holds a password: leave it out and set PGPASSWORD in the environment")
    return url.set(drivername="postgresql+psycopg")


class PostgresDatabase:
    """Implements `Database`. password_variable: the variable that holds the password; None: what libpq does itself."""

    remote = True

    def __init__(self, url: URL, *, create: bool, password_variable: str | None, wait_s: float) -> None:
        self.name = url.set(drivername="postgresql").render_as_string()
        self._password_variable = password_variable
        self._reading = threading.Lock()
        self._reader: Connection | None = None
        try:
            self.engine = create_engine(
                url,
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,  # a server may have been started again since
                hide_parameters=True,
                connect_args={"connect_timeout": _CONNECT_S, "client_encoding": "utf8"},
            )
        except ModuleNotFoundError as error:
            raise LedgerError(f"{self.name}: needs psycopg: pip install 'autointerp[postgres]'") from error
        event.listen(self.engine, "do_connect", self._add_password)
        event.listen(self.engine, "connect", lambda connection, _: _configure(connection, wait_s))
        try:
            with self.explained(), self.engine.begin() as connection:
                check_or_create(connection, self.name, _lock_creation, create=create)
        except LedgerError:
            self.engine.dispose()
            raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise LedgerError(f"{self.name}: {_meaning(error.orig)}") from error

    def lock(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"LOCK TABLE {calls.name} IN SHARE ROW EXCLUSIVE MODE")

    def record(self, rows: Sequence[Mapping[str, Any]]) -> int:
        with self.engine.begin() as connection:
            return self.insert(connection, rows)

    def insert(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Writers that wait for one another's keys all take them in one order, so that no two wait in a circle.

        The order is stable, so that of two answers in `rows` the first one stays.
        """
        ordered = sorted(rows, key=lambda row: (row["key"], row["status"], "" if row["reply"] else row["asked_at"]))
        return connection.execute(_INSERT, ordered, execution_options={"preserve_rowcount": True}).rowcount

    def replies(self, keys: Sequence[str]) -> dict[str, str]:
        """On a connection kept for this, without transactions, so that a question is one round trip."""
        with self._reading:
            try:
                return self._replies(keys)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._drop_reader()  # the server was started again since: asking twice harms nothing
                return self._replies(keys)

    def damage(self) -> list[str]:
        """Nothing: its checks are the administrator's (pg_amcheck)."""
        return []

    def close(self) -> None:
        with self._reading:
            self._drop_reader()
        self.engine.dispose()

    def _replies(self, keys: Sequence[str]) -> dict[str, str]:
        if self._reader is None:
            self._reader = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        rows = self._reader.exec_driver_sql(_REPLIES, (list(keys),)).all()
        return {str(row.key): str(row.reply) for row in rows}

    def _drop_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _add_password(self, _dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        if self._password_variable is None:
            return
        if self._password_variable not in os.environ:
            raise LedgerError(f"{self.name}: set the environment variable {self._password_variable} to its password")
        parameters["password"] = os.environ[self._password_variable]


def _meaning(error: Any) -> str:
    code = getattr(error, "sqlstate", None) or ""
    said = " ".join(str(error).split())
    if not code:
        return (
            f"no connection ({said}): is the server running, may this user connect, and is the password in the "
            "environment (PGPASSWORD, or the variable that the job names)?"
        )
    return _MEANINGS.get(code) or _MEANINGS.get(code[:2]) or f"database error: {said}"


def _lock_creation(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATION})")


def _configure(connection: Any, wait_s: float) -> None:
    connection.execute(_WAIT, (f"{max(1, round(1000 * wait_s))}ms",))
    connection.execute(_DURABLE)
    connection.commit()
