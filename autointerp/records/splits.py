"""Disjoint splits: which records an explainer sees, which fit a calibration, and which are scored.

The rule that everything here serves: a cluster (`autointerp.records.clusters`) belongs to one split. So no context,
no window that overlaps it and no near-duplicate of it is in two of them. The result depends on the pool, the plan,
the unit and the seed, and on nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.records.clusters import cluster
from autointerp.records.cut import cut_many
from autointerp.records.plan import POOLS, SplitPlan, SplitRole
from autointerp.records.pool import NO_POSITION, PAD, Pool
from autointerp.records.store import ContextStore
from autointerp.seeds import generator
from autointerp.types import (
    ActivationRecord,
    CalibrateSplit,
    ExplainSplit,
    Reason,
    ScoreSplit,
    Stratum,
    UnitId,
    UnitRecord,
    Unscored,
)

__all__ = ["split_pool", "split_unit"]

_KEPT: Final[tuple[SplitRole, ...]] = ("explain", "calibrate", "score")
# Who is served first in each round. LMEN's strides begin with the explainer's. Elsewhere it matters only where a slice
# holds fewer records than asked: what is measured goes first, since the top records show the explainer that region.
_TURNS: Final[dict[str, tuple[SplitRole, ...]]] = {
    "interleaved": ("explain", "calibrate", "score", "test"),
    "shuffled": ("score", "explain", "calibrate", "test"),
}

_Token: TypeAlias = int | tuple[bytes, int]


def split_unit(store: ContextStore, unit: UnitId, plan: SplitPlan, seed: int) -> UnitRecord | Unscored:
    """The splits of a unit of a context store; see `split_pool`.

    Raises BadInput for a unit that is not in the store and for windows longer than the store's, BadStore where the
    unit's records are damaged.
    """
    if plan.window > store.window:
        raise BadInput(
            f"the protocol needs windows of {plan.window} tokens and {store.path} holds {store.window}:"
            f" harvest again with --window {plan.window}"
        )
    return split_pool(store.pool(unit), plan, seed)


def split_pool(pool: Pool, plan: SplitPlan, seed: int) -> UnitRecord | Unscored:
    """Three disjoint splits of a pool.

    A split gets exactly the records the plan asks for, at most one of a cluster as long as there are others. It is
    Unscored(NEVER_FIRES) where the unit fired on no token, and Unscored(TOO_FEW_CONTEXTS) where a pool has too few
    records in different clusters; the detail names every pool that is short ("top: 12 of 16; random: 3 of 10").
    How many records of each pool a split holds is told by `census(split.records)`.

    Order of records: pool by pool as in `POOLS`; calibrate and score are shuffled where the plan's order is.
    """
    # A file's statistics may be those of its few random records, so the records are asked as well.
    if not pool.statistics.fired and not (pool.activations > 0).any():
        return Unscored(Reason.NEVER_FIRES, f"silent on {pool.statistics.n_tokens} tokens")
    windows = _Windows.of(pool, plan)
    table = _Table(windows)
    short = [shortage for name in plan.pools() if (shortage := _deal_pool(table, name, plan, seed))]
    short = short or _below_minimum(table, plan)
    if short:
        return Unscored(Reason.TOO_FEW_CONTEXTS, "; ".join(short))
    explain, calibrate, score = (_records(table, role, plan, seed) for role in _KEPT)
    return UnitRecord(pool.unit, ExplainSplit(explain), CalibrateSplit(calibrate), ScoreSplit(score), pool.statistics)


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """The rows of a pool, cut to a plan's window. clusters: -1 for a row that the plan does not use."""

    pool: Pool
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    clusters: list[int]

    @classmethod
    def of(cls, pool: Pool, plan: SplitPlan) -> _Windows:
        start, stop = cut_many(pool.focus, pool.lengths, plan.window)
        used = pool.rows(*(stratum for name in plan.pools() for stratum in POOLS[name]))
        length = (stop - start)[used]
        columns = np.minimum(np.arange(length.max(initial=0)), length[:, None] - 1)
        tokens = pool.tokens[used[:, None], start[used, None] + columns]
        tokens[np.arange(tokens.shape[1]) >= length[:, None]] = PAD
        known = pool.positions[used] != NO_POSITION
        positions = np.where(known, pool.positions[used] + start[used], NO_POSITION)
        clusters = np.full(len(pool), -1)
        clusters[used] = used[cluster(tokens, length, positions, plan.window)]
        return cls(pool, start, stop, clusters.tolist())

    def token(self, row: int) -> _Token:
        """Which token of the corpus a record is about: two records of the same one are the same record."""
        position, focus = int(self.pool.positions[row]), int(self.pool.focus[row])
        return position + focus if position != NO_POSITION else (self.pool.tokens[row].tobytes(), focus)

    def record(self, row: int) -> ActivationRecord:
        start, stop = int(self.start[row]), int(self.stop[row])
        return self.pool.record(row, start, stop, f"c{self.clusters[row]}")


@dataclass(slots=True)
class _Table:
    """Who has been dealt what."""

    windows: _Windows
    owner: dict[int, SplitRole] = field(default_factory=dict)  # of each cluster
    rows: defaultdict[SplitRole, list[int]] = field(default_factory=lambda: defaultdict(list))
    tokens: defaultdict[SplitRole, set[_Token]] = field(default_factory=lambda: defaultdict(set))

    def free(self, rows: list[int]) -> Iterator[int]:
        """The first row of each cluster that no split owns, and that still owns none when it is reached."""
        return (row for row in rows if self.windows.clusters[row] not in self.owner)

    def give(self, row: int, role: SplitRole) -> None:
        self.owner[self.windows.clusters[row]] = role
        self.rows[role].append(row)
        self.tokens[role].add(self.windows.token(row))

    def deal(self, rows: list[int], asked: Mapping[SplitRole, int]) -> int:
        """Deal records in turn, in the order of `asked`, a cluster to one split. Returns how many are missing."""
        dealt: Counter[SplitRole] = Counter()
        for row, role in zip(self.free(rows), _rounds(asked), strict=False):
            self.give(row, role)
            dealt[role] += 1
        return sum(self._fill(rows, role, count - dealt[role]) for role, count in asked.items())

    def _fill(self, rows: list[int], role: SplitRole, count: int) -> int:
        """Give a split further records of clusters that are its own already. Returns how many are still wanted."""
        for row in rows:
            if not count:
                return 0
            if self.owner.get(self.windows.clusters[row]) != role or self.windows.token(row) in self.tokens[role]:
                continue
            self.give(row, role)
            count -= 1
        return count


def _rounds(asked: Mapping[SplitRole, int]) -> Iterator[SplitRole]:
    """Whose turn it is: round after round, a split that has what it asked for leaves."""
    for number in range(max(asked.values())):
        yield from (role for role, count in asked.items() if count > number)


def _deal_pool(table: _Table, name: str, plan: SplitPlan, seed: int) -> str | None:
    """Deal the records of one pool. Returns what is short ("top: 12 of 16"), or None."""
    asked = {role: plan.asked(role).get(name, 0) for role in _TURNS[plan.order]}
    missing = 0
    for stratum in POOLS[name]:
        rows = _dealing_order(table.windows.pool, stratum, sum(asked.values()), plan, seed)
        supply = len({table.windows.clusters[row] for row in table.free(rows)})
        enough_for_test = supply >= sum(asked.values())
        missing += table.deal(rows, asked if enough_for_test else {**asked, "test": 0})
    if not missing or (plan.minimum and name in plan.may_run_short):
        return None
    wanted = len(POOLS[name]) * (sum(asked.values()) - asked["test"])
    return f"{name}: {wanted - missing} of {wanted}"


def _dealing_order(pool: Pool, stratum: Stratum, needed: int, plan: SplitPlan, seed: int) -> list[int]:
    """The rows of a stratum in the order in which they are dealt; the later ones replace those that cannot be used.

    Interleaved, top records come by rank. Of other strata a random choice of as many as are needed comes first, in the
    order of the source: a source may list them by position, and the first N would be the beginning of the corpus; and
    a source that has just as many as are needed, such as LMEN's own files, is dealt in LMEN's own strides.
    """
    rows = pool.rows(stratum)
    if plan.order == "interleaved" and stratum is Stratum.TOP:
        return rows.tolist()  # type: ignore[no-any-return]
    shuffled = generator(seed, "records.deal", str(pool.unit), stratum.name).permutation(rows)
    if plan.order == "interleaved":
        shuffled[:needed].sort()
    return shuffled.tolist()  # type: ignore[no-any-return]


def _below_minimum(table: _Table, plan: SplitPlan) -> list[str]:
    least = {role: min(plan.minimum, plan.size(role)) for role in _KEPT}
    return [
        f"{role}: {len(table.rows[role])} records, at least {count} needed"
        for role, count in least.items()
        if len(table.rows[role]) < count
    ]


def _records(table: _Table, role: SplitRole, plan: SplitPlan, seed: int) -> tuple[ActivationRecord, ...]:
    pool = table.windows.pool
    place = {stratum: number for number, stratum in enumerate(s for name in plan.pools() for s in POOLS[name])}
    rows = sorted(table.rows[role], key=lambda row: (place[Stratum(int(pool.strata[row]))], row))
    if plan.order == "shuffled" and role != "explain":
        rows = generator(seed, "records.order", str(pool.unit), role).permutation(rows).tolist()
    return tuple([table.windows.record(row) for row in rows])
