"""Where a ledger is: a file of SQLite, or a PostgreSQL database by its URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from autointerp.providers.ledger_postgres import PostgresDatabase, is_url, postgres_url
from autointerp.providers.ledger_sqlite import SqliteDatabase

__all__ = ["Database", "open_database"]


class Database(Protocol):
    """What the ledger needs of a database. Errors inside `explained` come out as LedgerErrors of one line.

    name: how messages call it, never with a password. remote: asking takes a round trip to a server.
    """

    name: str
    remote: bool
    engine: Engine

    def explained(self) -> AbstractContextManager[None]: ...

    def lock(self, connection: Connection) -> None:
        """Makes this transaction the only writer until it ends."""

    def record(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Adds calls as `insert` does, in a transaction of their own. The hot path of a run, and one thread's."""

    def insert(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Adds calls; one that is there already (same answered key, or the same failure) stays. How many were new."""

    def replies(self, keys: Sequence[str]) -> dict[str, str]:
        """The recorded replies (JSON) of those keys that have one. The hot path of a replay."""

    def damage(self) -> list[str]:
        """What the database itself finds wrong with its storage, where it can look."""

    def close(self) -> None: ...


def open_database(address: str | Path, *, create: bool, password_variable: str | None, wait_s: float) -> Database:
    """The database at a path or URL, with the ledger's tables, made if new and `create`. Raises LedgerError."""
    if isinstance(address, str) and is_url(address):
        url = postgres_url(address)
        return PostgresDatabase(url, create=create, password_variable=password_variable, wait_s=wait_s)
    return SqliteDatabase(Path(address), create=create, wait_s=wait_s)
