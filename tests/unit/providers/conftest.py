"""The ledgers that the tests of this room write to, in a file and on a PostgreSQL server, and the server they ask."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from loopback_server import Server, serving
from support.postgres import PostgresServer

from autointerp.providers.ledger import Ledger


class Files:
    """Ledgers in files of SQLite."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, count()

    def new(self) -> str:
        """The address of a ledger that is not made yet."""
        return str(self._folder / f"ledger-{next(self._numbers)}.sqlite")

    def execute(self, address: str, statement: str) -> list[Any]:
        """What another program does to it."""
        with closing(sqlite3.connect(address, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()


class Schemas:
    """Ledgers on a server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def new(self) -> str:
        return self._server.new_ledger()

    def execute(self, address: str, statement: str) -> list[Any]:
        return self._server.execute(statement, address)


Place = Files | Schemas


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a test's ledgers are; each test runs once for each."""
    return Files(tmp_path) if request.param == "sqlite" else Schemas(request.getfixturevalue("postgres"))


@pytest.fixture
async def ledger(place: Place) -> AsyncIterator[Ledger]:
    async with Ledger(place.new()) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
