"""Which units a page shows with their contexts, where a run has more of them than a page can hold.

The best and the worst by rank, those that beat the explanation of another unit most clearly, and a random sample of
every group (features, neurons, units of the shuffled subject), so that what is typical is seen beside what is extreme.
The sample is a function of the units' names alone: the same run shows the same units.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from autointerp.results.details import Head
from autointerp.results.standing import Standing
from autointerp.types import Role

__all__ = ["LIMIT", "SAMPLE", "Sampled", "notable", "sampled"]

LIMIT = 500
"""Units (of all protocols together) that a page embeds with their contexts."""
SAMPLE = 125
"""Of them at random, where a run has more than `LIMIT`."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """n_units: that have contexts, counted once for each protocol; chosen: {protocol: units}, at random."""

    n_units: int
    chosen: Mapping[str, set[str]]


def notable(ranking: Standing, limit: int) -> set[str]:
    """At most `limit` units of a ranking: a third from its head, a third from its tail, a third by control gap."""
    share = limit // 3
    gap = np.where(np.isnan(ranking.control_gap), -np.inf, ranking.control_gap)
    by_gap = np.argsort(-gap, kind="stable")[:share]
    numbers = [*range(min(share, len(ranking))), *range(max(0, len(ranking) - share), len(ranking)), *by_gap.tolist()]
    return {ranking.unit[number].as_py() for number in numbers}


def sampled(heads: Iterable[Head]) -> Sampled:
    """Every unit of a run that has no more than `LIMIT`, else `SAMPLE` of them: as many of each protocol, and of each
    group of a protocol. heads: of the lines of units.jsonl.gz."""
    groups: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
    n_units = 0
    for head in heads:
        if head.role == Role.OTHER_EXPLANATION.value:
            continue
        n_units += 1
        heap = groups.setdefault((head.preset, head.role, head.kind), [])
        heapq.heappush(heap, (-_drawn(head.unit), head.unit))
        if len(heap) > LIMIT:
            heapq.heappop(heap)
    presets = Counter(preset for preset, _, _ in groups)
    chosen: dict[str, set[str]] = {preset: set() for preset in presets}
    for (preset, _, _), heap in groups.items():
        most = LIMIT if n_units <= LIMIT else max(1, SAMPLE // (len(presets) * presets[preset]))
        chosen[preset] |= {unit for _, unit in sorted(heap, reverse=True)[:most]}
    return Sampled(n_units, chosen)


def _drawn(unit: str) -> int:
    return int.from_bytes(hashlib.sha256(b"page " + unit.encode()).digest()[:8], "big")
