"""A ledger as lines of JSON (.jsonl or .jsonl.gz): to ship, to compare, to carry to another machine.

The first line names the format and version; each further line is a call, its request and reply as JSON objects. Equal
ledgers give equal bytes: calls are sorted by key and the gzip header holds no time.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import RowMapping

from autointerp.errors import BadInput
from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_repeats import REPLIED
from autointerp.providers.ledger_statistics import stored_time
from autointerp.providers.ledger_tables import FORMAT, calls, storable
from autointerp.providers.wire import canonical_json, reply_from_json, request_from_json

__all__ = ["export_jsonl", "import_jsonl"]

# Of the export, not of the tables: a ledger of any version exports the same calls to the same bytes.
VERSION = 1

_DOCUMENTS = ("request", "reply")
_COLUMNS = tuple(column.name for column in calls.columns if column.name != "id")


def export_jsonl(ledger: Ledger, path: str | Path) -> int:
    """Writes all calls to `path`, whole or not at all, compressed where it ends in ".gz". Returns how many."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            compressed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.suffix == ".gz" else nullcontext(file)
            with compressed as out:
                count = _write(ledger, out)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


def import_jsonl(ledger: Ledger, path: str | Path) -> int:
    """Adds the calls of an export, all or none; see `Ledger.insert`. Returns how many were new.

    Raises BadInput naming the line where the file is missing, damaged, of another version, or holds a call whose key is
    not that of its request.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if compressed else path.open("rb") as lines:
            return ledger.insert(_read(path, lines))
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: cannot be read ({error}): copy or download it again") from error


def _write(ledger: Ledger, out: BinaryIO | gzip.GzipFile) -> int:
    count = 0
    out.write(canonical_json({"format": FORMAT, "version": VERSION}).encode() + b"\n")
    for row in ledger.rows():
        out.write(_line(row).encode() + b"\n")
        count += 1
    return count


def _line(row: RowMapping) -> str:
    body = {name: row[name] for name in _COLUMNS if row[name] is not None}
    for name in _DOCUMENTS:
        if name in body:
            body[name] = json.loads(body[name])
    return canonical_json(body)


def _read(path: Path, lines: Any) -> Iterator[Mapping[str, Any]]:
    number = 0
    for number, line in enumerate(lines, start=1):
        try:
            body = json.loads(line)
            if number == 1:
                _check_header(path, body)
                continue
            yield _row(body)
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}:{number}: not a line of a ledger export ({error})") from error
    if number == 0:
        raise BadInput(f"{path}: is empty: export the ledger again")


def _check_header(path: Path, body: Any) -> None:
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise BadInput(f"{path}: is not a ledger export (its first line does not name {FORMAT})")
    if body.get("version") != VERSION:
        raise BadInput(
            f"{path}: is an export of version {body.get('version')}, and this program reads version {VERSION}: "
            "upgrade autointerp"
        )


def _row(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("not an object")
    unknown = set(body) - set(_COLUMNS)
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    row: dict[str, Any] = {name: body.get(name) for name in _COLUMNS}
    for name in _DOCUMENTS:
        row[name] = None if row[name] is None else canonical_json(row[name])
    _check_columns(row)
    if (row["reply"] is None) == (row["status"] in REPLIED) or row["status"] not in (*REPLIED, "failed"):
        raise ValueError(f"status {row['status']!r} does not fit the reply")
    if row["reply"] is not None:
        reply_from_json(row["reply"])
    if request_key(row["provider"], request_from_json(row["request"])) != row["key"]:
        raise ValueError(f"the key {row['key']} is not that of the request")
    return row


def _check_columns(row: Mapping[str, Any]) -> None:
    """One database would take what another refuses, or change it: both are given what is of the column's type."""
    for column in calls.columns:
        value = row.get(column.name)
        if column.name == "id" or (value is None and column.nullable):
            continue
        if not _is_of(column.type.python_type, value):
            raise ValueError(f"{column.name} is {value!r:.60}")
    if stored_time(datetime.fromisoformat(row["asked_at"])) != row["asked_at"]:
        raise ValueError(f"asked_at is {row['asked_at']!r:.60}, not a time in UTC with microseconds")


def _is_of(kind: type, value: Any) -> bool:
    if kind is str:
        return isinstance(value, str) and storable(value) == value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 and (kind is float or isinstance(value, int))
