"""units.jsonl.gz: what stands behind each LLM score, context by context, for the report and for a reader's own eyes.

One line per unit, preset and role, in canonical order: the explanation, the unit's statistics, and every context shown
to the explainer or scored, with the true activations and, where scored, the simulated ones.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import IO, Any

from autointerp.errors import BadInput
from autointerp.results.spool import Spool
from autointerp.types import ActivationRecord, Explanation, Role, Simulation, UnitRecord, UnitStatistics, Unscored

__all__ = ["DetailLines", "Head", "detail", "read_details", "read_heads"]


# What a line holds, as `detail` writes it.
_AFTER_HEAD = ',"explanation":'
_KEYS = frozenset({"unit", "kind", "index", "preset", "role", "explanation", "scale", "statistics", "records"})


def _numbers(values: Iterable[float], digits: int = 4) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values]


def _statistics(statistics: UnitStatistics) -> dict[str, Any]:
    return {
        "n_tokens": statistics.n_tokens,
        "fired": statistics.fired,
        "density": statistics.density,
        "maximum": statistics.maximum,
        "mean": statistics.mean,
        "histogram_scale": statistics.histogram_scale,
        "histogram": _coarse(statistics),
        "interval_edges": _numbers(statistics.interval_edges),
        "interval_tokens": [int(count) for count in statistics.interval_tokens],
        "top_tokens": list(statistics.top_tokens),
        "top_logits": [[token, round(value, 4)] for token, value in statistics.top_logits],
        "bottom_logits": [[token, round(value, 4)] for token, value in statistics.bottom_logits],
    }


def _coarse(statistics: UnitStatistics, bins: int = 64) -> list[int]:
    """The histogram in 64 bins, for a picture (the store keeps the fine one)."""
    counts = statistics.histogram
    if len(counts) % bins:
        return [int(count) for count in counts]
    return [int(count) for count in counts.reshape(bins, -1).sum(axis=1)]


def _record(record: ActivationRecord, split: str, simulation: Simulation | None) -> dict[str, Any]:
    return {
        "split": split,
        "stratum": record.stratum.name.lower(),
        "domain": record.context.domain,
        "document": record.context.document,
        "context": record.context.id,
        "focus": record.focus,
        "tokens": list(record.context.tokens),
        "truth": _numbers(record.activations),
        "expected": None if simulation is None else _numbers(simulation.expected),
    }


def detail(
    record: UnitRecord,
    preset: str,
    role: Role,
    explanation: Explanation | Unscored,
    simulations: Sequence[Simulation] = (),
) -> dict[str, Any]:
    """One line of units.jsonl.gz."""
    by_context = {simulation.context_id: simulation for simulation in simulations}
    shown = [_record(one, "explain", None) for one in record.explain.records]
    scored = [_record(one, "score", by_context.get(one.context.id)) for one in record.score.records]
    told: dict[str, Any] = (
        {"reason": explanation.reason.value, "detail": explanation.detail}
        if isinstance(explanation, Unscored)
        else {"text": explanation.text, "origin": explanation.origin, "unit": str(explanation.unit)}
    )
    return {
        "unit": str(record.unit),
        "kind": record.unit.kind.value,
        "index": record.unit.index,
        "preset": preset,
        "role": role.value,
        "explanation": told,
        "scale": simulations[0].scale.value if simulations else None,
        "statistics": _statistics(record.statistics),
        "records": shown + scored,
    }


class DetailLines:
    """The lines of units.jsonl.gz, added in any order, kept on disk, written in a canonical order."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder)

    def close(self) -> None:
        """Forgets the lines."""
        self._spool.close()

    def add(self, line: Mapping[str, Any]) -> None:
        """Keeps a line, as `detail` makes it. Raises ValueError where it holds NaN or infinity, which is no JSON."""
        text = json.dumps(line, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        self._spool.add((line["preset"], line["role"], line["kind"], line["unit"]), text.encode())

    def write(self, file: IO[bytes]) -> None:
        """Writes them gzipped, with no time stamp, so that the same lines give the same bytes."""
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed:
            for _, line in self._spool.in_order():
                packed.write(line + b"\n")


@dataclass(frozen=True, slots=True)
class Head:
    """What a line is about."""

    unit: str
    kind: str
    preset: str
    role: str


_HEAD_KEYS = frozenset(one.name for one in fields(Head))


def read_heads(folder: Path) -> Iterator[Head]:
    """What the lines of a run's units.jsonl.gz are about: most of a line is contexts, which are not looked at.

    Raises BadInput as `read_details` does.
    """
    for head, _ in _lines(folder):
        yield head


def read_details(folder: Path, wanted: Callable[[Head], bool] | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a run's units.jsonl.gz, or those wanted. Raises BadInput where there are none to read."""
    for head, line in _lines(folder):
        if wanted is None or wanted(head):
            yield line()


def _lines(folder: Path) -> Iterator[tuple[Head, Callable[[], dict[str, Any]]]]:
    """What each line is about, and the line itself where it is called for."""
    path = folder / "units.jsonl.gz"
    if not path.is_file():
        raise BadInput(f"{folder} holds no units.jsonl.gz: give the folder of a finished run")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for text in file:
                yield _head(text), partial(_whole, text)
    except (OSError, EOFError, ValueError) as error:
        raise BadInput(f"{path} is damaged ({error}): run the job again") from error


def _head(text: str) -> Head:
    """From what comes before the explanation, where all of it does, as in a line that `DetailLines` wrote.

    Within a text a quote is an escaped one, so the first bare `"explanation"` is the key.
    """
    before, found, _ = text.partition(_AFTER_HEAD)
    head = json.loads(before + "}") if found else {}
    if not set(head) >= _HEAD_KEYS:
        head = _whole(text)
    return Head(**{name: head[name] for name in _HEAD_KEYS})


def _whole(text: str) -> dict[str, Any]:
    line = json.loads(text)
    if not isinstance(line, dict) or not set(line) >= _KEYS:
        raise ValueError("a line does not describe a unit")
    return line
