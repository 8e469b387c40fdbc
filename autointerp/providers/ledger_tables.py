"""The ledger's tables, the same on SQLite and on PostgreSQL.

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
from sqlalchemy.types import TypeEngine

from autointerp.errors import LedgerError, NoLedger

__all__ = ["FORMAT", "VERSION", "calls", "check_or_create", "storable"]

FORMAT = "autointerp-ledger"
VERSION = 1


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
)
_answered = calls.c.status == "answered"
Index("one_answer", calls.c.key, unique=True, sqlite_where=_answered, postgresql_where=_answered)
Index("one_record", calls.c.key, calls.c.status, calls.c.asked_at, unique=True)
_about = Table("about", _tables, Column("format", Text, primary_key=True), Column("version", Integer, nullable=False))


def check_or_create(connection: Connection, name: str, lock: Callable[[Connection], None], *, create: bool) -> None:
    """Makes the tables where there are none, once even if two processes try; checks format and version otherwise.

    lock: makes this transaction the only writer. Raises LedgerError naming the ledger.
    """
    if not _names(connection):
        if not create:
            raise NoLedger(f"{name}: holds no ledger: name the one you mean, or import an export into a new one")
        lock(connection)
        if not _names(connection):
            _tables.create_all(connection)
            connection.execute(_about.insert().values(format=FORMAT, version=VERSION))
    _check(connection, name)


def _names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def _check(connection: Connection, name: str) -> None:
    about = connection.execute(select(_about)).first() if {_about.name, calls.name} <= _names(connection) else None
    if about is None or about.format != FORMAT:
        raise LedgerError(f"{name}: is a database, but not a ledger: name another one")
    if about.version != VERSION:
        raise LedgerError(
            f"{name}: is a ledger of version {about.version}, and this program reads version {VERSION}: "
            "upgrade autointerp, or name another one"
        )


def storable(text: Any) -> str:
    """Text that both databases hold: NUL and halves of surrogate pairs, which one of them refuses, as escapes."""
    return str(text).replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
