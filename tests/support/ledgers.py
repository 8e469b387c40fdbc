"""Where tests keep ledgers, and processes of their own that write to them (`ledger_writer`)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from support import ledger_writer
from support.postgres import PostgresServer

from autointerp.protocols import ChatReply
from autointerp.providers.ledger import Ledger

__all__ = ["Files", "Place", "Schemas", "acknowledged", "standing", "start", "writer"]


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


def writer(address: str, word: str, first: int, last: int, size: int = 10) -> subprocess.Popen[str]:
    """A `ledger_writer` that waits for `start`."""
    return subprocess.Popen(
        [sys.executable, str(Path(ledger_writer.__file__)), address, word, str(first), str(last), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def start(*processes: subprocess.Popen[str], limit: str = "") -> None:
    """Lets them open their ledgers at the same time, when all have come so far. limit: of the size of files, bytes."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{limit}\n")
        process.stdin.flush()


def acknowledged(output: str) -> dict[str, str]:
    """The key and the first word of the reply that stands, for each whole line that a writer printed."""
    return dict(line.split() for line in output.split("\n")[:-1])


async def standing(address: str) -> dict[str, str]:
    """What the ledger holds, in the same form, when it has been verified: one answer for each key."""
    async with Ledger(address, create=False) as ledger:
        assert ledger.verify() == []
        answers = [row["key"] for row in ledger.rows() if row["status"] == "answered"]
        assert len(answers) == len(set(answers))
        found = {}
        for key in answers:
            reply = ledger.get(key)
            assert isinstance(reply, ChatReply)
            found[key] = reply.text.split()[0]
        return found
