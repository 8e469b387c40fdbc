"""Answers that came second: paid like the first, and kept as calls of their own that answer nothing.

Two processes on one ledger may ask the same at the same time, and two ledgers that are brought together may both have
asked it. The answer that was recorded first is the one every replay finds; another one was paid all the same. Its reply
is kept with it, as evidence of what was bought: of a request that was asked twice it is the only other draw there is.

A call is known by its key and the time it was asked at, one of a batch by the batch as well: two processes may collect
the same batch, which is paid once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from autointerp.providers.ledger_tables import calls

__all__ = ["REPEATED", "REPLIED", "repeats"]

REPEATED = "repeated"
REPLIED = ("answered", REPEATED)
"""Of these calls a reply came."""

_CHUNK = 500


def repeats(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of `rows` that brought a reply and are not the call whose answer stands, with the status "repeated".

    rows: as they were to be inserted, after the ledger took those that are first.
    """
    came = [row for row in rows if row["status"] in REPLIED]
    standing = {str(row["key"]): row for row in _standing(connection, sorted({row["key"] for row in came}))}
    return [{**row, "status": REPEATED} for row in came if not _is_same(row, standing.get(row["key"]))]


def _standing(connection: Connection, keys: Sequence[str]) -> Iterator[RowMapping]:
    remaining = iter(keys)
    while some := list(islice(remaining, _CHUNK)):
        query = select(calls.c.key, calls.c.asked_at, calls.c.batch)
        yield from connection.execute(query.where(calls.c.key.in_(some), calls.c.status == "answered")).mappings()


def _is_same(row: Mapping[str, Any], standing: RowMapping | None) -> bool:
    if standing is None:  # it was pruned: this call was paid all the same
        return False
    of_one_batch = row["batch"] is not None and row["batch"] == standing["batch"]
    return of_one_batch or bool(row["asked_at"] == standing["asked_at"])
