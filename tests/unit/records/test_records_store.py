"""Reading a context store that was written by hand: what comes back is what was planted."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.records import ContextStore
from autointerp.types import Kind, Stratum, UnitId
from tests.support.stores import HOSTILE, PLANTED, PLANTED_NEURONS, Planted, refresh_manifest, write_store


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def store(planted: Planted) -> ContextStore:
    return ContextStore.open(planted.path, verify=True)


def test_a_store_says_what_it_holds(store: ContextStore, planted: Planted) -> None:
    assert store.kinds == (Kind.FEATURE, Kind.NEURON)
    assert (store.window, store.n_tokens, store.control) == (64, len(planted.stream), None)
    assert store.unit_ids(Kind.NEURON) == tuple(
        UnitId("toy", "blocks.0.mlp.hook_post", Kind.NEURON, None, index) for index in range(4)
    )
    assert str(store.unit(Kind.FEATURE, 3)) == "toy/blocks.0.mlp.hook_post/feature/toy-sae/3"
    assert list(store.firing(Kind.FEATURE)) == [i for i in range(6) if i != PLANTED["silent"]]
    assert list(store.firing(Kind.NEURON)) == [i for i in range(4) if i != PLANTED_NEURONS["silent_neuron"]]


def test_a_control_store_says_so(tmp_path: Path) -> None:
    write_store(tmp_path, control="shuffled_weights", blocks=24, random=8)
    store = ContextStore.open(tmp_path)
    assert store.control == "shuffled_weights"
    assert store.unit(Kind.NEURON, 0).subject == "toy-shuffled"


@pytest.mark.parametrize("kind", [Kind.FEATURE, Kind.NEURON])
def test_every_record_is_the_planted_truth(store: ContextStore, planted: Planted, kind: Kind) -> None:
    # A window pasted from the wrong place, or activations of another unit, would differ from the stream somewhere.
    for unit in store.unit_ids(kind):
        pool = store.pool(unit)
        truth = planted.activations[kind][:, unit.index]
        for row in range(len(pool)):
            places = np.arange(pool.positions[row], pool.positions[row] + pool.lengths[row])
            assert (pool.tokens[row] == planted.stream[places]).all()
            assert (pool.activations[row] == truth[places]).all()


def test_a_record_is_about_its_focus(store: ContextStore, planted: Planted) -> None:
    unit = store.unit(Kind.FEATURE, PLANTED["hostile"])
    pool, statistics = store.pool(unit), store.statistics(unit)
    for row in pool.rows(Stratum.TOP):
        assert pool.activations[row, pool.focus[row]] == pool.activations[row].max()
        assert planted.vocabulary[pool.tokens[row, pool.focus[row]]] in HOSTILE
    for stratum in list(Stratum)[1:14]:
        rows = pool.rows(stratum)
        values = pool.activations[rows, pool.focus[rows]]
        low, high = statistics.interval_edges[stratum.slice : stratum.slice + 2]
        assert ((low < values) & (values <= high)).all()


def test_top_records_come_by_rank(store: ContextStore) -> None:
    pool = store.pool(store.unit(Kind.FEATURE, PLANTED["animal"]))
    rows = pool.rows(Stratum.TOP)
    best = pool.activations[rows, pool.focus[rows]]
    assert list(rows) == list(range(40))
    assert (np.diff(best) <= 0).all()


def test_random_records_are_the_same_for_all_units(store: ContextStore) -> None:
    pools = [store.pool(unit) for unit in store.unit_ids(Kind.FEATURE)]
    first = pools[0].positions[pools[0].rows(Stratum.RANDOM)]
    assert len(first) == 100
    assert all((pool.positions[pool.rows(Stratum.RANDOM)] == first).all() for pool in pools)


def test_statistics_are_those_of_the_whole_corpus(store: ContextStore, planted: Planted) -> None:
    for kind, index in ((Kind.FEATURE, PLANTED["animal"]), (Kind.NEURON, PLANTED_NEURONS["noise"])):
        statistics = store.statistics(store.unit(kind, index))
        truth = planted.activations[kind][:, index].astype(np.float64)
        assert statistics.fired == (truth > 0).sum()
        assert statistics.density == pytest.approx((truth > 0).mean())
        assert statistics.maximum == truth.max()
        assert statistics.mean == pytest.approx(truth.mean())
        assert statistics.mean_square == pytest.approx(np.square(truth).mean())
        assert statistics.histogram.sum() == statistics.interval_tokens.sum() == statistics.fired
    animal = store.statistics(store.unit(Kind.FEATURE, PLANTED["animal"]))
    assert animal.top_tokens[0] == " cat"
    assert len(animal.top_logits) == len(animal.bottom_logits) == 10
    assert animal.top_logits[0][1] == 1
    assert animal.bottom_logits[0][1] == -1


def test_a_silent_unit_has_no_records_and_no_top_tokens(store: ContextStore) -> None:
    unit = store.unit(Kind.FEATURE, PLANTED["silent"])
    assert len(store.read(unit).context) == 0
    assert store.statistics(unit).top_tokens == ()
    assert (store.statistics(unit).fired, store.statistics(unit).density) == (0, 0)


def test_a_single_token_unit_has_its_maximum_on_one_token_in_twenty_top_contexts(
    store: ContextStore, planted: Planted, tmp_path: Path
) -> None:
    found = {name: store.single_token(store.unit(Kind.FEATURE, index)) for name, index in PLANTED.items()}
    assert found["animal"] is True  # graded by what stands before it, but highest on " cat"
    assert found["dense"] is False
    assert found["rare"] is None  # on one token, but only six times in the corpus
    assert found["silent"] is None
    for name in ("digits", "hostile"):
        pool = store.pool(store.unit(Kind.FEATURE, PLANTED[name]))
        rows = pool.rows(Stratum.TOP)[:20]
        assert found[name] is (len(set(pool.tokens[rows, pool.focus[rows]].tolist())) == 1)
    write_store(tmp_path, blocks=40, top=19, random=8)
    few = ContextStore.open(tmp_path)
    assert few.single_token(few.unit(Kind.FEATURE, PLANTED["animal"])) is None


def test_logits_may_be_absent(tmp_path: Path) -> None:
    planted = write_store(tmp_path, blocks=24, random=8)
    for file in tmp_path.glob("*/logit_*.npy"):
        file.unlink()
    refresh_manifest(planted.path)
    store = ContextStore.open(tmp_path, verify=True)
    assert store.statistics(store.unit(Kind.FEATURE, 0)).top_logits == ()


def test_what_is_read_is_a_view_that_cannot_be_written(store: ContextStore) -> None:
    stored = store.read(store.unit(Kind.FEATURE, 0))
    for array in (stored.context, stored.focus, stored.strata, stored.activations, stored.random_activations):
        assert array.base is not None
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[:1] = 0
    statistics = store.statistics(stored.unit)
    assert not any(a.flags.writeable for a in (statistics.histogram, statistics.interval_edges))


def test_reading_a_unit_takes_less_than_a_millisecond(store: ContextStore) -> None:
    unit = store.unit(Kind.FEATURE, PLANTED["dense"])
    spent = []
    for _ in range(50):
        start = time.process_time()
        store.read(unit)
        spent.append(time.process_time() - start)
    assert sorted(spent)[25] < 1e-3


def test_a_store_without_random_contexts_can_be_read(tmp_path: Path) -> None:
    write_store(tmp_path, blocks=24, random=0)
    store = ContextStore.open(tmp_path)
    assert len(store.pool(store.unit(Kind.FEATURE, 0)).rows(Stratum.RANDOM)) == 0


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (UnitId("toy", "blocks.0.mlp.hook_post", Kind.NEURON, None, 4), "holds 4 neuron units: there is no neuron 4"),
        (UnitId("other", "blocks.0.mlp.hook_post", Kind.NEURON, None, 0), "other/.* is not in"),
        (UnitId("toy", "blocks.1.mlp.hook_post", Kind.NEURON, None, 0), "blocks.1.* is not in"),
        (UnitId("toy", "blocks.0.mlp.hook_post", Kind.FEATURE, "another", 0), "another/0 is not in"),
        (UnitId("toy", "blocks.0.mlp.hook_post", Kind.ATTENTION_HEAD, None, 0), "holds no units of kind"),
    ],
)
def test_a_unit_of_another_store_is_refused(store: ContextStore, unit: UnitId, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        store.read(unit)


def test_the_fingerprint_changes_with_the_contents(tmp_path: Path, store: ContextStore) -> None:
    write_store(tmp_path / "same")
    write_store(tmp_path / "other", seed=1)
    assert ContextStore.open(tmp_path / "same").fingerprint == store.fingerprint
    assert ContextStore.open(tmp_path / "other").fingerprint != store.fingerprint


def resident_kb(part: str) -> int:
    """How much of the files whose path holds `part` is in this process' memory (Linux)."""
    total, counted = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):
            counted = part in line
        elif counted and first == "Rss:":
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux to look at its own memory")
def test_released_memory_is_given_back_and_reads_the_same_again(tmp_path: Path) -> None:
    store = ContextStore.open(write_store(tmp_path / "released-store").path)
    before = [store.pool(unit).activations for unit in store.unit_ids(Kind.FEATURE)]
    held = resident_kb("released-store")
    store.release()
    assert resident_kb("released-store") < held / 2
    after = [store.pool(unit).activations for unit in store.unit_ids(Kind.FEATURE)]
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
