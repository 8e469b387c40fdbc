"""The ledger's tables, the same on SQLite and on PostgreSQL, and how an older ledger gets those of this version.

    calls           see `autointerp.providers.ledger`; batch: the vendor's id of the batch that brought it, None: live
    batches         token (ours), provider, model, vendor_id, state, how many requests, times, who submits it
    batch_entries   the requests that are in a batch which is not collected yet; the key is unique, so that no request
                    is in two batches at a time

Version 2 added the batches.

Text is compared and ordered byte by byte on both, so that an export does not depend on a server's locale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
)
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine

from autointerp.errors import LedgerError, NoLedger

__all__ = ["FORMAT", "VERSION", "batch_entries", "batches", "calls", "check_or_create", "storable"]

FORMAT = "autointerp-ledger"
VERSION = 2


def _text(length: int | None = None) -> TypeEngine[str]:
    kind = Text if length is None else String
    return kind(length).with_variant(kind(length, collation="C"), "postgresql")


def _whole() -> TypeEngine[int]:
    return Integer().with_variant(BigInteger(), "postgresql")


_tables = MetaData()
calls = Table(
    "calls",
    _tables,
    Column("id", _whole(), primary_key=True),
    Column("key", _text(64), nullable=False),
    Column("provider", _text(), nullable=False),
    Column("model", _text(), nullable=False),
    Column("status", _text(8), nullable=False),
    Column("request", _text(), nullable=False),
    Column("reply", _text()),
    Column("error", _text()),
    Column("prompt_tokens", _whole(), nullable=False),
    Column("completion_tokens", _whole(), nullable=False),
    Column("cached_prompt_tokens", _whole(), nullable=False),
    Column("cost_usd", Float),
    Column("asked_at", _text(32), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("batch", _text()),
)
_answered = calls.c.status == "answered"
Index("one_answer", calls.c.key, unique=True, sqlite_where=_answered, postgresql_where=_answered)
Index("one_record", calls.c.key, calls.c.status, calls.c.asked_at, unique=True)
batches = Table(
    "batches",
    _tables,
    Column("token", _text(32), primary_key=True),
    Column("provider", _text(), nullable=False),
    Column("model", _text(), nullable=False),
    Column("vendor_id", _text()),
    Column("state", _text(10), nullable=False),
    Column("requests", _whole(), nullable=False),
    Column("created_at", _text(32), nullable=False),
    Column("submitted_at", _text(32)),
    Column("ended_at", _text(32)),
    Column("note", _text()),
    Column("owner", _text(), nullable=False),
    Column("claimed_at", _text(32), nullable=False),
)
batch_entries = Table(
    "batch_entries",
    _tables,
    Column("key", _text(64), primary_key=True),
    Column("token", _text(32), nullable=False, index=True),
    Column("request", _text(), nullable=False),
)
_about = Table("about", _tables, Column("format", Text, primary_key=True), Column("version", Integer, nullable=False))


def check_or_create(connection: Connection, name: str, lock: Callable[[Connection], None], *, create: bool) -> None:
    """Makes the tables where there are none, once even if two processes try; checks format and version otherwise, and
    brings a ledger of an earlier version to this one.

    lock: makes this transaction the only writer. Raises LedgerError naming the ledger.
    """
    if not _names(connection):
        if not create:
            raise NoLedger(f"{name}: holds no ledger: name the one you mean, or import an export into a new one")
        lock(connection)
        if not _names(connection):
            _tables.create_all(connection)
            connection.execute(_about.insert().values(format=FORMAT, version=VERSION))
    if _version(connection, name) in _UPGRADES:
        lock(connection)
        while (upgrade := _UPGRADES.get(_version(connection, name))) is not None:
            upgrade(connection)
    _check(connection, name)


def _names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def _check(connection: Connection, name: str) -> None:
    version = _version(connection, name)
    if version != VERSION:
        raise LedgerError(
            f"{name}: is a ledger of version {version}, and this program reads version {VERSION}: "
            "upgrade autointerp, or name another one"
        )


def _version(connection: Connection, name: str) -> int:
    about = connection.execute(select(_about)).first() if {_about.name, calls.name} <= _names(connection) else None
    if about is None or about.format != FORMAT:
        raise LedgerError(f"{name}: is a database, but not a ledger: name another one")
    return int(about.version)


def _add_batches(connection: Connection) -> None:
    """From version 1 to 2."""
    column = CreateColumn(calls.c.batch).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {calls.name} ADD COLUMN {column}")
    _tables.create_all(connection, [batches, batch_entries])
    connection.execute(_about.update().values(version=2))


_UPGRADES = {1: _add_batches}


def storable(text: Any) -> str:
    """Text that both databases hold: NUL and halves of surrogate pairs, which one of them refuses, as escapes."""
    return str(text).replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
