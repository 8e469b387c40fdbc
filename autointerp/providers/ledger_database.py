"""The ledger's tables and the SQLite file that holds them. Another database is another `open_database`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from autointerp.errors import LedgerError

__all__ = ["FORMAT", "VERSION", "calls", "explained", "insert_new", "open_database"]

FORMAT = "autointerp-ledger"
VERSION = 1

_tables = MetaData()
calls = Table(
    "calls",
    _tables,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("status", String(8), nullable=False),
    Column("request", Text, nullable=False),
    Column("reply", Text),
    Column("error", Text),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cached_prompt_tokens", Integer, nullable=False),
    Column("cost_usd", Float),
    Column("asked_at", String(32), nullable=False),
    Column("seconds", Float, nullable=False),
)
_answered = calls.c.status == "answered"
Index("one_answer", calls.c.key, unique=True, sqlite_where=_answered, postgresql_where=_answered)
Index("one_record", calls.c.key, calls.c.status, calls.c.asked_at, unique=True)
_about = Table("about", _tables, Column("format", Text, primary_key=True), Column("version", Integer, nullable=False))

_BUSY_S = 10.0
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


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the database's errors into one line of LedgerError."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        raise LedgerError(f"{path}: {_MEANINGS.get(code, f'database error: {error.orig}')}") from error


def open_database(path: Path) -> Engine:
    """The engine of a ledger file, made if it is new. Raises LedgerError where it cannot be used."""
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": _BUSY_S})
    event.listen(engine, "connect", _configure)
    try:
        with explained(path), engine.begin() as connection:
            _check_or_create(path, connection)
    except LedgerError:
        engine.dispose()
        raise
    return engine


def insert_new(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts calls; one that is already there (same answered key, or the same failure) is left as it is."""
    if rows:
        connection.execute(insert(calls).on_conflict_do_nothing(), rows)


def _configure(connection: sqlite3.Connection, _: object) -> None:
    for setting in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}").close()


def _check_or_create(path: Path, connection: Connection) -> None:
    names = inspect(connection).get_table_names()
    if not names:
        _tables.create_all(connection)
        connection.execute(_about.insert().values(format=FORMAT, version=VERSION))
        return
    about = connection.execute(select(_about)).first() if _about.name in names and calls.name in names else None
    if about is None or about.format != FORMAT:
        raise LedgerError(f"{path}: is a database, but not a ledger: name another file")
    if about.version != VERSION:
        raise LedgerError(
            f"{path}: is a ledger of version {about.version}, and this program reads version {VERSION}: "
            "upgrade autointerp, or name another file"
        )
