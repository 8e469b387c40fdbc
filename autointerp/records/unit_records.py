"""One unit's records in a file of this project's own: what a context store holds of it, without the store.

    {"format": "autointerp-unit-records", "version": 1, "unit": canonical name,
     "statistics": {the fields of `UnitStatistics`},
     "records": [{"stratum": "TOP", "focus", "document", "domain", "position", "tokens": [...], "activations": [...]}]}

position is null where it is not known. Unlike a NeuronRecord this keeps every stratum and everything that was counted,
so that a unit read from it is split as it is in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import BadInput
from autointerp.records.listed import Listed, number_list, pool_of, read_json, text_list, write_json
from autointerp.records.neuron_records import parse_neuron_record
from autointerp.records.pool import NO_POSITION, Pool
from autointerp.types import Stratum, UnitId, UnitStatistics, frozen_array

__all__ = ["read_records", "write_unit_records"]

_FORMAT, _VERSION = "autointerp-unit-records", 1
_COUNTS = ("n_tokens", "fired")
_NUMBERS = ("maximum", "mean", "mean_square", "histogram_scale")


def read_records(path: str | Path, *, subject: str = "unnamed") -> Pool:
    """One unit's records: of this project's format, or of OpenAI's NeuronRecord (where `subject` names the model).

    Raises BadInput with one line where the file is neither.
    """
    content = read_json(Path(path))
    if content.get("format") != _FORMAT:
        return parse_neuron_record(content, str(path), subject=subject)
    if content.get("version") != _VERSION:
        raise BadInput(
            f"{path}: written in format version {content.get('version')!r}, and this program reads {_VERSION}:"
            " update autointerp"
        )
    try:
        unit = UnitId.parse(str(content.get("unit")))
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from None
    entries = content.get("records")
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise BadInput(f"{path}: 'records' is not a list of records")
    listed = [_listed(entry, f"{path}: records[{number}]") for number, entry in enumerate(entries)]
    return pool_of(unit, _statistics(content.get("statistics"), f"{path}: statistics"), listed)


def write_unit_records(path: str | Path, pool: Pool) -> None:
    """Write every record of a pool; `read_records` gives the pool back."""
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "unit": str(pool.unit),
        "statistics": _written_statistics(pool.statistics),
        "records": [_written(pool, row) for row in range(len(pool))],
    }
    write_json(Path(path), content)


def _listed(entry: Mapping[str, Any], where: str) -> Listed:
    tokens = text_list(entry.get("tokens"), f"{where}.tokens")
    activations = number_list(entry.get("activations"), f"{where}.activations")
    focus, position = entry.get("focus"), entry.get("position")
    if entry.get("stratum") not in Stratum.__members__:
        raise BadInput(f"{where}: unknown stratum {entry.get('stratum')!r}")
    if len(activations) != len(tokens) or not isinstance(focus, int) or not 0 <= focus < len(tokens):
        raise BadInput(f"{where}: {len(tokens)} tokens, {len(activations)} activations, focus {focus!r}")
    if position is not None and not (isinstance(position, int) and position >= 0):
        raise BadInput(f"{where}: position {position!r}")
    return Listed(
        stratum=Stratum[entry["stratum"]],
        tokens=tokens,
        activations=activations,
        focus=focus,
        document=str(entry.get("document", "")),
        domain=str(entry.get("domain", "")),
        position=NO_POSITION if position is None else position,
    )


def _written(pool: Pool, row: int) -> dict[str, Any]:
    length = int(pool.lengths[row])
    document, domain = pool.texts.documents[pool.documents[row]]
    position = int(pool.positions[row])
    return {
        "stratum": Stratum(int(pool.strata[row])).name,
        "focus": int(pool.focus[row]),
        "document": document,
        "domain": domain,
        "position": None if position == NO_POSITION else position,
        "tokens": [pool.texts.vocabulary[number] for number in pool.tokens[row, :length]],
        "activations": pool.activations[row, :length].tolist(),
    }


def _statistics(content: Any, where: str) -> UnitStatistics:
    if not isinstance(content, Mapping):
        raise BadInput(f"{where}: missing")
    numbers = {name: number_list([content.get(name)], f"{where}.{name}")[0] for name in (*_COUNTS, *_NUMBERS)}
    return UnitStatistics(
        n_tokens=int(numbers["n_tokens"]),
        fired=int(numbers["fired"]),
        **{name: numbers[name] for name in _NUMBERS},
        interval_edges=frozen_array(number_list(content.get("interval_edges"), f"{where}.interval_edges")),
        interval_tokens=_whole(content.get("interval_tokens"), f"{where}.interval_tokens"),
        histogram=_whole(content.get("histogram"), f"{where}.histogram"),
        top_tokens=tuple(str(token) for token in content.get("top_tokens", ())),
        top_logits=_logits(content.get("top_logits", []), f"{where}.top_logits"),
        bottom_logits=_logits(content.get("bottom_logits", []), f"{where}.bottom_logits"),
    )


def _whole(value: Any, where: str) -> Any:
    counts = np.array(number_list(value, where)).astype(np.int64)
    counts.setflags(write=False)
    return counts


def _logits(value: Any, where: str) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise BadInput(f"{where}: not a list of [token, weight]")
    return tuple((str(token), number_list([weight], where)[0]) for token, weight in value)


def _written_statistics(statistics: UnitStatistics) -> dict[str, Any]:
    return {
        **{name: getattr(statistics, name) for name in (*_COUNTS, *_NUMBERS)},
        "interval_edges": statistics.interval_edges.tolist(),
        "interval_tokens": statistics.interval_tokens.tolist(),
        "histogram": statistics.histogram.tolist(),
        "top_tokens": list(statistics.top_tokens),
        "top_logits": [list(pair) for pair in statistics.top_logits],
        "bottom_logits": [list(pair) for pair in statistics.bottom_logits],
    }
