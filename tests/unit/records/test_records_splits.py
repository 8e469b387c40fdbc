"""Splits: the published strides, counts, shortages, and the defects of other programs' samples."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.records import ContextStore, Pool, SplitPlan, census, split_pool, split_unit
from autointerp.records.listed import Listed, pool_of
from autointerp.types import (
    ActivationRecord,
    Kind,
    Reason,
    Scale,
    Stratum,
    UnitId,
    UnitRecord,
    UnitStatistics,
    Unscored,
    frozen_array,
)
from tests.support.stores import PLANTED, PLANTED_NEURONS, Planted, write_store

UNIT = UnitId("toy", "blocks.0.mlp.hook_post", Kind.NEURON, None, 0)

LMEN = SplitPlan(
    window=64,
    explain={"top": 5},
    calibrate={"top": 5, "random": 5},
    score={"top": 5, "random": 5},
    test={"top": 5, "random": 5},
    order="interleaved",
)
TM = SplitPlan(
    window=9,
    explain={"top": 10, "slices": 2, "random": 5, "out_of_context": 10},
    score={"top": 6, "slices": 2, "random": 10, "out_of_context": 20},
    order="shuffled",
    minimum=20,
)


def statistics(fired: int = 10) -> UnitStatistics:
    none = np.zeros(0, np.int64)
    return UnitStatistics(1000, fired, 1.0, 0.1, 0.1, frozen_array([]), none, none, 1.0)


def distinct(stratum: Stratum, count: int, *, tag: str = "", value: float = 1.0, size: int = 9) -> list[Listed]:
    """Records that have no token in common. The first token names the record."""
    tokens = [[f"{tag}{stratum.name}{n}.{place}" for place in range(size)] for n in range(count)]
    return [Listed(stratum, words, [value] * size, size // 2) for words in tokens]


def pool(*records: list[Listed]) -> Pool:
    return pool_of(UNIT, statistics(), [record for part in records for record in part])


def split(pool: Pool, plan: SplitPlan, seed: int = 0) -> UnitRecord:
    outcome = split_pool(pool, plan, seed)
    assert isinstance(outcome, UnitRecord), outcome
    return outcome


def refusal(pool: Pool, plan: SplitPlan) -> str:
    outcome = split_pool(pool, plan, 0)
    assert isinstance(outcome, Unscored), outcome
    assert outcome.reason is Reason.TOO_FEW_CONTEXTS
    return outcome.detail


def names(records: tuple[ActivationRecord, ...]) -> list[str]:
    return [record.context.tokens[0].split(".")[0] for record in records]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def store(planted: Planted) -> ContextStore:
    return ContextStore.open(planted.path)


# LMEN's order.


def test_lmen_strides() -> None:
    """The published code: four splits of the top records, three of the random ones, `split_index::n_splits`."""
    found = split(pool(distinct(Stratum.TOP, 20), distinct(Stratum.RANDOM, 15)), LMEN)
    top, random = [f"TOP{n}" for n in range(20)], [f"RANDOM{n}" for n in range(15)]
    assert names(found.explain.records) == top[slice(0, 20, 4)]
    assert names(found.calibrate.records) == top[slice(1, 20, 4)] + random[slice(0, 15, 3)]
    assert names(found.score.records) == top[slice(2, 20, 4)] + random[slice(1, 15, 3)]


def test_a_pool_too_small_for_a_test_split_is_dealt_without_one() -> None:
    # "this assert could trigger on some old datasets with only 10 random samples": there the test split is left out.
    found = split(pool(distinct(Stratum.TOP, 15), distinct(Stratum.RANDOM, 10)), LMEN)
    assert names(found.explain.records) == [f"TOP{n}" for n in range(0, 15, 3)]
    assert names(found.score.records) == [f"TOP{n}" for n in range(2, 15, 3)] + [f"RANDOM{n}" for n in range(1, 10, 2)]


def test_unequal_shares_are_dealt_in_turn_until_each_has_its_own() -> None:
    plan = SplitPlan(9, explain={"top": 4}, score={"top": 2}, calibrate={"top": 1}, order="interleaved")
    found = split(pool(distinct(Stratum.TOP, 7)), plan)
    assert names(found.explain.records) == ["TOP0", "TOP3", "TOP5", "TOP6"]
    assert names(found.calibrate.records) == ["TOP1"]
    assert names(found.score.records) == ["TOP2", "TOP4"]


def test_top_records_that_repeat_one_another_are_passed_over() -> None:
    top = distinct(Stratum.TOP, 6)
    plan = SplitPlan(9, explain={"top": 3}, score={"top": 3}, order="interleaved")
    twice = [record for record in top for _ in range(2)]
    found = split(pool(twice), plan)
    assert names(found.explain.records) == ["TOP0", "TOP2", "TOP4"]
    assert names(found.score.records) == ["TOP1", "TOP3", "TOP5"]


def test_peer_defect_of_too_many_top_records_the_strongest_are_not_cut_off() -> None:
    """A peer truncates a list that has the top records first from its front."""
    found = split(pool(distinct(Stratum.TOP, 40), distinct(Stratum.RANDOM, 15)), LMEN)
    top = [f"TOP{n}" for n in range(20)]
    assert names(found.explain.records) == top[0::4]
    assert names(found.calibrate.records)[:5] == top[1::4]
    assert names(found.score.records)[:5] == top[2::4]


# Counts and shortages.


@pytest.mark.parametrize("name", ["animal", "dense"])
def test_tm_counts(store: ContextStore, name: str) -> None:
    found = split_unit(store, store.unit(Kind.FEATURE, PLANTED[name]), TM, 0)
    assert isinstance(found, UnitRecord)
    explain, score = census(found.explain.records), census(found.score.records)
    assert (explain["top"], explain["random"], explain["out_of_context"]) == (10, 5, 10)
    assert (score["top"], score["random"], score["out_of_context"]) == (6, 10, 20)
    assert found.calibrate.records == ()
    if name == "dense":  # no slice of it runs short
        assert (explain["slices"], score["slices"]) == (24, 24)
        assert (len(found.explain.records), len(found.score.records)) == (49, 60)
        for split in (found.explain, found.score):
            slices = [record.stratum.slice for record in split.records if record.stratum.slice is not None]
            assert sorted(slices) == sorted([*range(12), *range(12)])


def test_what_is_short_is_said() -> None:
    few = pool(distinct(Stratum.TOP, 12), distinct(Stratum.RANDOM, 3))
    plan = SplitPlan(9, {"top": 10, "random": 5}, {}, {"top": 6, "random": 5})
    assert refusal(few, plan) == "top: 12 of 16; random: 3 of 10"
    assert refusal(pool(distinct(Stratum.RANDOM, 20)), plan) == "top: 0 of 16"


def test_repeats_do_not_make_enough() -> None:
    one = distinct(Stratum.TOP, 1) * 20
    assert refusal(pool(one), SplitPlan(9, {"top": 5}, {}, {"top": 5})) == "top: 1 of 10"


def test_a_cluster_can_fill_one_split_but_not_two() -> None:
    # Ten windows of one passage, each at another place of it, and three that are new.
    words = [f"w{n}" for n in range(30)]
    passage = [Listed(Stratum.TOP, words[n : n + 9], [1.0] * 9, 4) for n in range(10)]
    plan = SplitPlan(9, {"top": 3}, {}, {"top": 2}, order="interleaved")
    found = split(pool(passage, distinct(Stratum.TOP, 3, tag="x")), plan)
    sides = [{record.cluster for record in part.records} for part in (found.explain, found.score)]
    assert sides[0].isdisjoint(sides[1])
    assert names(found.explain.records) == ["w0", "w1", "xTOP1"]
    assert names(found.score.records) == ["xTOP0", "xTOP2"]


def test_a_slice_without_tokens_runs_short_only_where_the_plan_allows() -> None:
    records = [distinct(Stratum.TOP, 20)]
    records += [distinct(Stratum(1 + index), 4) for index in range(12) if index not in (7, 11)]
    strict = SplitPlan(9, {"top": 10, "slices": 2}, {}, {"top": 10, "slices": 2})
    assert refusal(pool(*records), strict) == "slices: 40 of 48"
    found = split(pool(*records), replace(strict, minimum=20))
    assert census(found.explain.records) == census(found.score.records) == {"top": 10, "slices": 20}


def test_a_minimum_is_kept() -> None:
    records = [distinct(Stratum.TOP, 20), distinct(Stratum.SLICE_3, 4)]
    plan = SplitPlan(9, {"top": 10, "slices": 2}, {}, {"top": 10, "slices": 2}, minimum=13)
    short = "explain: 12 records, at least 13 needed; score: 12 records, at least 13 needed"
    assert refusal(pool(*records), plan) == short
    assert isinstance(split_pool(pool(*records), replace(plan, minimum=12), 0), UnitRecord)


def test_a_minimum_does_not_excuse_other_pools() -> None:
    plan = SplitPlan(9, {"top": 10, "random": 5}, minimum=5)
    assert refusal(pool(distinct(Stratum.TOP, 20), distinct(Stratum.RANDOM, 4)), plan) == "random: 4 of 5"
    lenient = replace(plan, may_run_short=frozenset({"random"}))
    assert census(split(pool(distinct(Stratum.TOP, 20), distinct(Stratum.RANDOM, 4)), lenient).explain.records) == {
        "top": 10,
        "random": 4,
    }


def test_a_lone_record_of_a_slice_is_scored() -> None:
    plan = SplitPlan(9, {"top": 2, "slices": 2}, {}, {"top": 2, "slices": 2}, minimum=1)
    found = split(pool(distinct(Stratum.TOP, 4), distinct(Stratum.SLICE_5, 1)), plan)
    assert (census(found.explain.records), census(found.score.records)) == ({"top": 2}, {"top": 2, "slices": 1})


def test_the_top_slice_is_a_pool_of_its_own() -> None:
    found = split(pool(distinct(Stratum.SLICE_12, 4)), SplitPlan(9, {"top_slice": 2}, {}, {"top_slice": 2}))
    assert {record.stratum for record in found.score.records} == {Stratum.SLICE_12}


def test_a_silent_unit_is_unscored(store: ContextStore) -> None:
    for unit in (
        store.unit(Kind.FEATURE, PLANTED["silent"]),
        store.unit(Kind.NEURON, PLANTED_NEURONS["silent_neuron"]),
    ):
        outcome = split_unit(store, unit, TM, 0)
        assert isinstance(outcome, Unscored)
        assert outcome.reason is Reason.NEVER_FIRES


def test_a_rare_unit_says_which_pool_is_short(store: ContextStore) -> None:
    outcome = split_unit(store, store.unit(Kind.FEATURE, PLANTED["rare"]), LMEN, 0)
    assert outcome == Unscored(Reason.TOO_FEW_CONTEXTS, "top: 6 of 15")


def test_a_window_longer_than_the_store_holds_is_refused(store: ContextStore) -> None:
    with pytest.raises(BadInput, match=r"windows of 128 tokens and .* holds 64: harvest again with --window 128"):
        split_unit(store, store.unit(Kind.FEATURE, 0), replace(LMEN, window=128), 0)


# The defects of others' samples.


def everyone(found: UnitRecord) -> list[ActivationRecord]:
    return [*found.explain.records, *found.calibrate.records, *found.score.records]


@pytest.mark.parametrize("plan", [LMEN, TM], ids=["lmen", "tm"])
def test_records_are_the_planted_truth_at_their_place(store: ContextStore, planted: Planted, plan: SplitPlan) -> None:
    """Delphi centred examples on the wrong token and pasted neighbours from the wrong window."""
    for kind, index in ((Kind.FEATURE, PLANTED["animal"]), (Kind.NEURON, PLANTED_NEURONS["noise"])):
        found = split_unit(store, store.unit(kind, index), plan, 3)
        assert isinstance(found, UnitRecord)
        for record in everyone(found):
            places = slice(record.context.position, record.context.position + len(record.context))
            assert record.context.tokens == tuple(planted.vocabulary[token] for token in planted.stream[places])
            assert record.context.token_ids == tuple(planted.stream[places].tolist())
            assert (record.activations == planted.activations[kind][places, index]).all()
            assert record.scale is Scale.RAW  # truth is never quantised
            assert len(record.context) <= plan.window
            if plan.window == 9 and 4 <= record.context.position % 128 <= 119 - 4:
                assert (record.focus, len(record.context)) == (4, 9)
            if record.stratum is Stratum.TOP and kind is Kind.FEATURE:
                assert record.context.tokens[record.focus] in (" cat", " dog")


def test_random_records_are_kept_whether_the_unit_fires_or_not(store: ContextStore) -> None:
    """sparse_coding drops random records without activation; others call a firing record a negative."""
    found = split_unit(store, store.unit(Kind.FEATURE, PLANTED["animal"]), TM, 0)
    assert isinstance(found, UnitRecord)
    random = [record for record in found.score.records if record.stratum is Stratum.RANDOM]
    silent = [record for record in random if not record.activations.any()]
    assert len(random) == 10
    assert len(silent) >= 5  # the unit fires on 2% of tokens
    found = split_unit(store, store.unit(Kind.FEATURE, PLANTED["dense"]), TM, 0)
    assert isinstance(found, UnitRecord)
    assert all(record.activations.any() for record in found.score.records if record.stratum is Stratum.RANDOM)


def test_peer_defect_random_records_of_a_rare_unit_are_nearly_all_silent(store: ContextStore) -> None:
    """Six windows hold its token. One that is drawn at random holds it hardly ever, and is kept all the same."""
    plan = SplitPlan(64, explain={"top": 2}, score={"top": 2, "random": 40})
    found = split_unit(store, store.unit(Kind.FEATURE, PLANTED["rare"]), plan, 0)
    assert isinstance(found, UnitRecord)
    random = [record for record in found.score.records if record.stratum is Stratum.RANDOM]
    assert len(random) == 40
    assert sum(not record.activations.any() for record in random) >= 34


@pytest.mark.parametrize("order", ["interleaved", "shuffled"])
def test_a_random_n_and_not_the_first_n(order: str) -> None:
    """Delphi takes the first N. Here the last of 100 random records are as likely to be scored as the first."""
    plan = SplitPlan(9, calibrate={"random": 5}, score={"random": 5}, order=order)  # type: ignore[arg-type]
    candidates = pool(distinct(Stratum.RANDOM, 100))
    scored = [int(name[6:]) for seed in range(40) for name in names(split(candidates, plan, seed).score.records)]
    assert len(scored) == 200
    # Mean of 200 draws from 0..99: 49.5, with a standard deviation of about 2.
    assert 42 < np.mean(scored) < 57
    assert len(set(scored)) > 70


def test_units_do_not_share_their_draw_of_the_shared_random_contexts(store: ContextStore) -> None:
    drawn = []
    for unit in (store.unit(Kind.FEATURE, PLANTED["animal"]), store.unit(Kind.NEURON, PLANTED_NEURONS["noise"])):
        found = split_unit(store, unit, LMEN, 0)
        assert isinstance(found, UnitRecord)
        drawn.append({r.context.id for r in found.score.records if r.stratum is Stratum.RANDOM})
    assert drawn[0] != drawn[1]


def test_a_near_duplicate_in_another_pool_is_kept_on_the_same_side() -> None:
    # The same passage as a top record, out of context and at random: whoever has the one may have the others only.
    passage = distinct(Stratum.TOP, 1, tag="same")[0]
    same = [replace(passage, stratum=stratum) for stratum in (Stratum.OUT_OF_CONTEXT, Stratum.RANDOM)]
    others = [distinct(stratum, 3) for stratum in (Stratum.TOP, Stratum.OUT_OF_CONTEXT, Stratum.RANDOM)]
    wanted = {"top": 2, "out_of_context": 1, "random": 1}
    candidates = pool([passage], *others, same)
    for seed in range(20):
        found = split(candidates, SplitPlan(9, explain=wanted, score=wanted), seed)
        for part in (found.explain, found.score):
            clusters = [record.cluster for record in part.records]
            assert len(set(clusters)) == len(clusters) == 4  # one of a cluster, as long as there are others


def explained_and_scored(first: Listed, second: Listed, window: int) -> UnitRecord | Unscored:
    """One record for each side, possible only if they are not the same text; and a whole window beside them."""
    plan = SplitPlan(window, explain={"top": 1}, score={"top": 1, "random": 1})
    return split_pool(pool([first, second], distinct(Stratum.RANDOM, 1)), plan, 0)


def test_it_is_the_cut_windows_that_may_not_overlap() -> None:
    words = [f"w{n}" for n in range(60)]

    def context(position: int, focus: int) -> Listed:
        return Listed(Stratum.TOP, words[position : position + 24], [1.0] * 24, focus, position=position)

    # Cut to nine tokens around 20 and 24: 16..24 and 22..28 (clipped at the second context's start).
    assert isinstance(explained_and_scored(context(0, 20), context(22, 2), 9), Unscored)
    # The contexts share twenty tokens; the windows around 4 and 20 share none.
    assert isinstance(explained_and_scored(context(0, 4), context(4, 16), 9), UnitRecord)


def test_a_clipped_window_is_compared_by_the_tokens_it_has() -> None:
    def context(*words: str) -> Listed:
        return Listed(Stratum.TOP, [*"pqrstuvwxyz", *words], [1.0] * (11 + len(words)), 10 + len(words))

    # Cut to nine tokens both end after five, the last two of which are the same.
    one, other = context(*"abcde"), context(*"fghde")
    assert isinstance(explained_and_scored(one, other, 9), UnitRecord)
    assert isinstance(explained_and_scored(one, context(*"abcde"), 9), Unscored)


def test_every_split_of_a_store_is_of_distinct_clusters(store: ContextStore) -> None:
    found = split_unit(store, store.unit(Kind.FEATURE, PLANTED["dense"]), TM, 0)
    assert isinstance(found, UnitRecord)
    clusters = [record.cluster for record in found.score.records]
    assert len(set(clusters)) == len(clusters)


# The order of what comes back, and what it depends on.


def test_tm_shuffles_what_is_scored_and_not_what_is_shown(store: ContextStore) -> None:
    found = split_unit(store, store.unit(Kind.FEATURE, PLANTED["dense"]), TM, 0)
    assert isinstance(found, UnitRecord)
    strata = [record.stratum for record in found.explain.records]
    slices = [Stratum(1 + index) for index in range(11, -1, -1) for _ in range(2)]
    assert strata == [Stratum.TOP] * 10 + slices + [Stratum.OUT_OF_CONTEXT] * 10 + [Stratum.RANDOM] * 5
    best = [record.activations[record.focus] for record in found.explain.records[:10]]
    assert best == sorted(best, reverse=True)
    scored = [record.stratum for record in found.score.records]
    assert scored != sorted(scored, key=list(Stratum).index)
    assert Stratum.TOP in scored[10:]


def fingerprint(found: UnitRecord | Unscored) -> list[tuple[str, ...]]:
    assert isinstance(found, UnitRecord)
    parts = (found.explain.records, found.calibrate.records, found.score.records)
    return [tuple(f"{r.context.id} {r.cluster} {r.stratum.name} {r.focus}" for r in part) for part in parts]


@pytest.mark.parametrize("plan", [LMEN, TM], ids=["lmen", "tm"])
def test_the_result_depends_on_store_unit_plan_and_seed_alone(
    store: ContextStore, planted: Planted, plan: SplitPlan
) -> None:
    unit = store.unit(Kind.FEATURE, PLANTED["dense"])
    first = fingerprint(split_unit(store, unit, plan, 7))
    again = ContextStore.open(planted.path)
    for other in again.unit_ids(Kind.NEURON):
        split_unit(again, other, plan, 1)
    np.random.seed(5)  # noqa: NPY002
    assert fingerprint(split_unit(again, unit, plan, 7)) == first
    assert fingerprint(split_unit(store, unit, plan, 8)) != first


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_result_does_not_depend_on_the_process(planted: Planted, store: ContextStore, hash_seed: str) -> None:
    code = f"""
from autointerp.records import ContextStore, SplitPlan, split_unit
from autointerp.types import Kind
store = ContextStore.open({str(planted.path)!r})
plan = SplitPlan(9, {{"top": 3, "slices": 1}}, {{"random": 2}}, {{"top": 3, "slices": 1, "random": 4}})
found = split_unit(store, store.unit(Kind.FEATURE, {PLANTED["dense"]}), plan, 11)
print([r.context.id for part in (found.explain, found.calibrate, found.score) for r in part.records])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    plan = SplitPlan(9, {"top": 3, "slices": 1}, {"random": 2}, {"top": 3, "slices": 1, "random": 4})
    found = split_unit(store, store.unit(Kind.FEATURE, PLANTED["dense"]), plan, 11)
    assert isinstance(found, UnitRecord)
    assert done.stdout.strip() == str([record.context.id for record in everyone(found)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"explain": {"middle": 3}},
        {"score": {"top": -1}},
        {"order": "sorted"},
        {"minimum": -1},
        {"may_run_short": frozenset({"everything"})},
    ],
)
def test_a_plan_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"window|pool|order|fewer"):
        replace(TM, **wrong)  # type: ignore[arg-type]
