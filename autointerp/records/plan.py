"""How many records of which sort each split gets: data, so that a protocol is a plan and not a branch in the code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from autointerp.types import ActivationRecord, Stratum

__all__ = ["POOLS", "Order", "SplitPlan", "SplitRole", "census"]

Order = Literal["interleaved", "shuffled"]
SplitRole = Literal["explain", "calibrate", "score", "test"]

POOLS: Mapping[str, tuple[Stratum, ...]] = MappingProxyType(
    {
        "top": (Stratum.TOP,),
        "top_slice": (Stratum.SLICE_12,),
        # From the highest to the lowest of the twelve below the top slice: the high ones hold the fewest tokens.
        "slices": tuple(Stratum(1 + index) for index in reversed(range(12))),
        "out_of_context": (Stratum.OUT_OF_CONTEXT,),
        "random": (Stratum.RANDOM,),
    }
)
"""The sorts of records a plan can ask for, in the order in which they are dealt, and the strata they are drawn from."""


@dataclass(frozen=True)
class SplitPlan:
    """Which records a unit's three splits hold.

    window: tokens of a record; longer contexts are cut around the focus. explain, calibrate, score: how many records of
    each pool of `POOLS`; the number under "slices" is for EACH of the slices 0 to 11.

    order "interleaved" (LMEN): the records of a pool, in the pool's order, are dealt in turn to explain, calibrate,
    score and test. `test` is LMEN's fourth split: its share is dealt, so that the strides are those of the published
    code, and set aside. Where a pool is too small for four it is dealt without a test share.
    order "shuffled" (TM): the records of a pool are dealt in a random order, and calibrate and score are shuffled.

    may_run_short, minimum: a pool named in the first may hold fewer records than asked, as long as every split gets at
    least `minimum` records (or all it asked for, if that is less). All other pools must give what is asked. With
    `minimum` 0 (the default) none may run short. TM: slices can hold few tokens or none, and a feature with fewer
    than 20 examples is dropped.

    Raises ValueError for an unknown pool or order, or a number below 0 (or below 1 for the window).
    """

    window: int
    explain: Mapping[str, int] = field(default_factory=dict)
    calibrate: Mapping[str, int] = field(default_factory=dict)
    score: Mapping[str, int] = field(default_factory=dict)
    test: Mapping[str, int] = field(default_factory=dict)
    order: Order = "shuffled"
    minimum: int = 0
    may_run_short: frozenset[str] = frozenset({"slices"})

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise ValueError(f"unknown order {self.order!r}: known are {', '.join(get_args(Order))}")
        if self.window < 1 or self.minimum < 0:
            raise ValueError(f"a window has at least 1 token and a minimum is not negative: {self}")
        asked = {**self.explain, **self.calibrate, **self.score, **self.test}
        unknown = sorted((set(asked) | self.may_run_short) - set(POOLS))
        if unknown:
            raise ValueError(f"unknown pool {unknown[0]!r}: known are {', '.join(POOLS)}")
        if any(count < 0 for role in get_args(SplitRole) for count in self.asked(role).values()):
            raise ValueError(f"a split cannot hold fewer than 0 records: {self}")

    def asked(self, role: SplitRole) -> Mapping[str, int]:
        """The counts of one split."""
        counts: Mapping[str, int] = getattr(self, role)
        return counts

    def pools(self) -> tuple[str, ...]:
        """The pools any split draws from, in the order of dealing."""
        return tuple(name for name in POOLS if any(self.asked(role).get(name) for role in get_args(SplitRole)))

    def size(self, role: SplitRole) -> int:
        """How many records a split holds if nothing runs short."""
        return sum(count * len(POOLS[name]) for name, count in self.asked(role).items())


def census(records: Iterable[ActivationRecord]) -> dict[str, int]:
    """How many records of each pool these are, in the order of `POOLS`; pools with none are left out."""
    strata = [record.stratum for record in records]
    counts = {name: sum(stratum in members for stratum in strata) for name, members in POOLS.items()}
    return {name: count for name, count in counts.items() if count}
