"""No leak: whatever the records, the plan and the seed, the splits have no text in common.

The check does not use the program's own clusters: it compares every record of one split with every record of the
others, by the plain definitions.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from autointerp.records import POOLS, Pool, SplitPlan, census, cluster, split_pool
from autointerp.records.listed import Listed, pool_of
from autointerp.types import (
    ActivationRecord,
    Kind,
    Reason,
    Stratum,
    UnitId,
    UnitRecord,
    UnitStatistics,
    Unscored,
    frozen_array,
)

UNIT = UnitId("toy", "blocks.0.mlp.hook_post", Kind.NEURON, None, 0)
STATISTICS = UnitStatistics(100, 10, 1.0, 0.1, 0.1, frozen_array([]), np.zeros(0, np.int64), np.zeros(0, np.int64), 1.0)
RUN, SIMILAR = 6, 0.8
ROLES = ("explain", "calibrate", "score")

relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def corpus(rng: np.random.Generator, vocabulary: int) -> list[str]:
    """Random text in which some passages stand several times, now and then with a token changed."""
    words = rng.integers(0, vocabulary, 600)
    for _ in range(8):
        source, target, size = rng.integers(0, 540), rng.integers(0, 540), rng.integers(5, 60)
        words[target : target + size] = words[source : source + size]
        if rng.random() < 0.5:
            words[target + rng.integers(0, size)] += 1
    return [f"t{word}" for word in words]


@st.composite
def pools(draw: st.DrawFn) -> tuple[Pool, list[str]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    text = corpus(rng, draw(st.sampled_from([3, 30, 1000])))
    strata = draw(st.sampled_from([[0, 101], [0, 1, 2, 12, 100, 101], list(Stratum)]))
    size = draw(st.integers(0, 90))
    width = draw(st.sampled_from([9, 24]))
    records = []
    for code in sorted(rng.choice([int(stratum) for stratum in strata], size).tolist()):
        start = int(rng.integers(0, len(text) - width))
        tokens = text[start : start + width]
        place = start if rng.random() < 0.8 else -1
        focus = int(rng.integers(0, width))
        records.append(Listed(Stratum(code), tokens, rng.random(width).tolist(), focus, position=place))
    return pool_of(UNIT, STATISTICS, records), text


counts = st.dictionaries(st.sampled_from(sorted(POOLS)), st.integers(0, 6))
plans = st.builds(
    SplitPlan,
    window=st.sampled_from([5, 9, 12, 24]),
    explain=counts,
    calibrate=counts,
    score=counts,
    test=counts,
    order=st.sampled_from(["interleaved", "shuffled"]),
    minimum=st.sampled_from([0, 1, 3]),
    may_run_short=st.sampled_from([frozenset({"slices"}), frozenset(POOLS)]),
)


def same_text(one: ActivationRecord, other: ActivationRecord, window: int) -> bool:
    """Overlapping in the corpus, sharing a run of half a window (at least six tokens), or of nearly the same tokens."""
    first, second = one.context, other.context
    if min(first.position, second.position) >= 0 and (
        first.position < second.position + len(second) and second.position < first.position + len(first)
    ):
        return True
    run = max(RUN, window // 2)
    runs = [{tuple(c.tokens[i : i + run]) for i in range(len(c) - run + 1)} for c in (first, second)]
    if runs[0] & runs[1]:
        return True
    bags = [Counter(context.tokens) for context in (first, second)]
    return (bags[0] & bags[1]).total() >= SIMILAR * (bags[0] | bags[1]).total()


def pools_asked(plan: SplitPlan, role: str) -> dict[str, int]:
    """Records asked of each pool; "slices" counts for each of twelve."""
    return {name: count * (12 if name == "slices" else 1) for name, count in getattr(plan, role).items() if count}


def parts(record: UnitRecord) -> dict[str, tuple[ActivationRecord, ...]]:
    return {
        "explain": record.explain.records,
        "calibrate": record.calibrate.records,
        "score": record.score.records,
    }


@relaxed
@given(pools(), plans, st.integers(0, 2**63))
def test_no_text_is_in_two_splits(drawn: tuple[Pool, list[str]], plan: SplitPlan, seed: int) -> None:
    found = split_pool(drawn[0], plan, seed)
    event(type(found).__name__)
    if isinstance(found, Unscored):
        return
    for one, other in combinations(parts(found).values(), 2):
        assert {record.context.id for record in one}.isdisjoint(record.context.id for record in other)
        assert {record.cluster for record in one}.isdisjoint(record.cluster for record in other)
        assert not [(a, b) for a in one for b in other if same_text(a, b, plan.window)]


@relaxed
@given(pools(), plans, st.integers(0, 2**63))
def test_counts_are_those_asked_or_the_unit_is_unscored(
    drawn: tuple[Pool, list[str]], plan: SplitPlan, seed: int
) -> None:
    found = split_pool(drawn[0], plan, seed)
    if isinstance(found, Unscored):
        for place, held, wanted in re.findall(r"(\w+): (\d+) of (\d+)", found.detail):
            assert int(held) < int(wanted) == sum(pools_asked(plan, role).get(place, 0) for role in ROLES)
        for role, held, least in re.findall(r"(\w+): (\d+) records, at least (\d+) needed", found.detail):
            assert int(held) < int(least) == min(plan.minimum, plan.size(role))
        assert found.reason is Reason.TOO_FEW_CONTEXTS
        assert re.search(r"\d+ of \d+|at least", found.detail)
        return
    for role, records in parts(found).items():
        asked = pools_asked(plan, role)
        held = census(records)
        assert set(held) <= set(asked)
        for name, count in asked.items():
            if plan.minimum and name in plan.may_run_short:
                assert held.get(name, 0) <= count
            else:
                assert held[name] == count
        assert len(records) >= min(plan.minimum, sum(asked.values()))


@relaxed
@given(plans, st.integers(0, 2**63))
def test_as_many_different_records_as_are_asked_for_are_enough(plan: SplitPlan, seed: int) -> None:
    wanted = {name: sum(getattr(plan, role).get(name, 0) for role in ROLES) for name in POOLS}
    records = [
        Listed(stratum, [f"{stratum.name}.{number}.{place}" for place in range(9)], [1.0] * 9, 4)
        for name, count in wanted.items()
        for stratum in POOLS[name]
        for number in range(count)
    ]
    found = split_pool(pool_of(UNIT, STATISTICS, records), plan, seed)
    assert isinstance(found, UnitRecord)
    assert sum(map(len, parts(found).values())) == len(records)


@relaxed
@given(pools(), plans, st.integers(0, 2**63))
def test_records_are_what_the_pool_holds(drawn: tuple[Pool, list[str]], plan: SplitPlan, seed: int) -> None:
    pool, text = drawn
    found = split_pool(pool, plan, seed)
    if isinstance(found, Unscored):
        return
    for records in parts(found).values():
        placed = [record for record in records if record.context.position >= 0]
        about = [record.context.position + record.focus for record in placed]
        assert len(set(about)) == len(about), "one token of the corpus is in a split twice"
        for record in records:
            assert len(record.context) <= plan.window
            if record.context.position >= 0:
                end = record.context.position + len(record.context)
                assert list(record.context.tokens) == text[record.context.position : end]
            rows = [
                row
                for row in range(len(pool))
                if pool.strata[row] == record.stratum
                and pool.activations[row, pool.focus[row]] == record.activations[record.focus]
            ]
            assert len(rows) == 1


@relaxed
@given(pools(), plans, st.integers(0, 2**63))
def test_the_same_again_is_the_same(drawn: tuple[Pool, list[str]], plan: SplitPlan, seed: int) -> None:
    def said(outcome: UnitRecord | Unscored) -> Any:
        if isinstance(outcome, Unscored):
            return outcome
        return {
            role: [(r.context.id, r.cluster, r.focus, r.activations.tolist()) for r in records]
            for role, records in parts(outcome).items()
        }

    assert said(split_pool(drawn[0], plan, seed)) == said(split_pool(drawn[0], plan, seed))


@relaxed
@given(st.integers(0, 2**32), st.sampled_from([3, 30]), st.integers(1, 25), st.sampled_from([6, 9, 16]))
def test_clusters_are_the_components_of_being_the_same_text(seed: int, vocabulary: int, n: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    text = corpus(rng, vocabulary)
    known = rng.random(n) < 0.7
    starts = rng.integers(0, len(text) - width, n)
    lengths = rng.integers(1, width + 1, n)
    numbers = {word: number for number, word in enumerate(dict.fromkeys(text))}
    tokens = np.full((n, width), -1, np.int32)
    records = []
    for row in range(n):
        words = text[starts[row] : starts[row] + lengths[row]]
        tokens[row, : lengths[row]] = [numbers[word] for word in words]
        listed = Listed(Stratum.TOP, words, [0.0] * len(words), 0, position=int(starts[row]) if known[row] else -1)
        records.append(pool_of(UNIT, STATISTICS, [listed]).record(0, 0, len(words), ""))
    expected = list(range(n))
    for one, other in combinations(range(n), 2):
        if same_text(records[one], records[other], width):
            low, high = sorted((expected[one], expected[other]))
            expected = [low if label == high else label for label in expected]
    assert cluster(tokens, lengths, np.where(known, starts, -1), width).tolist() == expected
