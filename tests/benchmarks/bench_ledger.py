"""Calls logged durably and known calls read, per second, on each database that is there.

Calls are recorded as a run records them: so many at a time, each waiting for its own commit. The bare loop is what one
would write without a ledger's group commit, one transaction a call, in the same file format. PostgreSQL is a server of
its own on this machine (`fsync` on), where its programs are installed. Seconds on the clock: what takes the time is the
disk, so the ratio to the bare loop is steadier than the rate.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

from autointerp.protocols import ChatReply, ChatRequest, Message, request_key
from autointerp.providers.ledger import Ledger
from autointerp.providers.wire import reply_to_json, request_to_json
from autointerp.types import Usage
from tests.support.postgres import postgres_binaries, running_postgres

CALLS, BARE_CALLS, TOGETHER = 6000, 200, 256
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
REPLY = ChatReply("words for months " * 10, "stop", "served", Usage(900, 40))


def run() -> dict[str, Any]:
    """Calls per second: recorded, found one after another (`get`) and together (`find`), and of the bare loop."""
    requests = [ChatRequest("m", (Message("user", f"{number} " + "word " * 600),), 64) for number in range(CALLS)]
    with tempfile.TemporaryDirectory() as folder:
        bare = _bare(Path(folder) / "bare.sqlite", requests[:BARE_CALLS])
        found = {"sqlite": asyncio.run(_rates(str(Path(folder) / "ledger.sqlite"), requests))}
    binaries = postgres_binaries()
    if binaries is not None:
        with (
            running_postgres(binaries, "fsync=on", "full_page_writes=on") as server,
            mock.patch.dict(os.environ, PGPASSWORD=server.password),
        ):
            found["postgresql"] = asyncio.run(_rates(server.new_ledger(), requests))
    return {
        "calls": CALLS,
        "together": TOGETHER,
        "per_second": {name: {what: round(rate) for what, rate in rates.items()} for name, rates in found.items()},
        "bare_recorded_per_second": round(bare),
        "recorded_times_bare": round(found["sqlite"]["recorded"] / bare, 1),
    }


async def _rates(address: str, requests: Sequence[ChatRequest]) -> dict[str, float]:
    gate = asyncio.Semaphore(TOGETHER)
    keys = [request_key("p", request) for request in requests]
    async with Ledger(address) as ledger:

        async def record(request: ChatRequest) -> None:
            async with gate:
                await ledger.record("p", request, REPLY, asked_at=NOON, seconds=1.0)

        start = time.perf_counter()
        await asyncio.gather(*map(record, requests))
        recorded = time.perf_counter()
        assert all(ledger.get(key) for key in keys)
        read = time.perf_counter()
        assert all(await asyncio.gather(*map(ledger.find, keys)))
        found = time.perf_counter()
    seconds = {"recorded": recorded - start, "got": read - recorded, "found_together": found - read}
    return {what: len(requests) / spent for what, spent in seconds.items()}


def _bare(path: Path, requests: Sequence[ChatRequest]) -> float:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE calls (key TEXT PRIMARY KEY, request TEXT, reply TEXT)")
        start = time.perf_counter()
        for request in requests:
            row = (request_key("p", request), request_to_json(request), reply_to_json(REPLY))
            connection.execute("INSERT INTO calls VALUES (?, ?, ?)", row)
            connection.commit()
        return len(requests) / (time.perf_counter() - start)


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))  # noqa: T201
