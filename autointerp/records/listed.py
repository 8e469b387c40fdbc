"""Records that a file lists one by one, made a pool; and the checks and the writing that such files share."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import BadInput
from autointerp.records.pool import NO_POSITION, PAD, Pool, Texts
from autointerp.types import Stratum, UnitId, UnitStatistics

__all__ = ["Listed", "number_list", "pool_of", "read_json", "text_list", "write_json"]


@dataclass(frozen=True, slots=True)
class Listed:
    """One record: tokens and as many raw activations, what it is a sample of, and where it stood (if that is known)."""

    stratum: Stratum
    tokens: Sequence[str]
    activations: Sequence[float]
    focus: int
    document: str = ""
    domain: str = ""
    position: int = NO_POSITION


def pool_of(unit: UnitId, statistics: UnitStatistics, records: Sequence[Listed]) -> Pool:
    """The pool of these records; top records stay in the order in which they are listed."""
    width = max((len(record.tokens) for record in records), default=0)
    numbers: dict[str, int] = {}
    documents: dict[tuple[str, str], int] = {}
    tokens = np.full((len(records), width), PAD, np.int32)
    activations = np.zeros((len(records), width))
    for row, record in enumerate(records):
        tokens[row, : len(record.tokens)] = [numbers.setdefault(token, len(numbers)) for token in record.tokens]
        activations[row, : len(record.tokens)] = record.activations
    places = [documents.setdefault((record.document, record.domain), len(documents)) for record in records]
    return Pool(
        unit=unit,
        statistics=statistics,
        strata=np.array([record.stratum for record in records], np.int64),
        tokens=tokens,
        lengths=np.array([len(record.tokens) for record in records], np.int64),
        focus=np.array([record.focus for record in records], np.int64),
        positions=np.array([record.position for record in records], np.int64),
        documents=np.array(places, np.int64),
        activations=activations,
        texts=Texts(tuple(numbers), tuple(documents), token_ids=False),
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises BadInput where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds a JSON {type(content).__name__}, and records are an object")
    return content


def text_list(value: Any, where: str) -> list[str]:
    """`value`, which must be a list of strings with at least one. Raises BadInput saying `where`."""
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise BadInput(f"{where}: not a list of strings (or an empty one)")
    return value


def number_list(value: Any, where: str) -> list[float]:
    """`value`, which must be a list of finite numbers. Raises BadInput saying `where`."""
    if not isinstance(value, list):
        raise BadInput(f"{where}: not a list of numbers")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int | float) or not math.isfinite(item):
            raise BadInput(f"{where}: {item!r} is not a finite number")
    return [float(item) for item in value]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a file of this name is either the old one or the whole new one."""
    # ASCII only: lone surrogates, which tokens can hold, have no UTF-8.
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
