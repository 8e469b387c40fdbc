"""Every number of a store, recomputed from all activations of a small corpus at once."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from harvest_fakes import (
    HOOK,
    FakeSubject,
    dense_activations,
    folder_bytes,
    random_dictionary,
    write_corpus,
    zipf_blocks,
)
from numpy.typing import NDArray

from sae.corpus import Corpus
from sae.dictionaries import ReluL1
from sae.harvest import HarvestSettings, Source, harvest

VOCAB, BLOCK, WINDOW, BLOCKS = 40, 20, 6, 90
SETTINGS = HarvestSettings(window=WINDOW, top=7, per_interval=3, random=11, out_of_context=9, seed=5, batch=4)
KINDS = ("feature", "neuron")


@dataclass(frozen=True)
class Harvested:
    path: Path
    source: Source
    blocks: NDArray[np.int64]
    truth: dict[str, NDArray[np.float32]]
    manifest: dict[str, object]

    def array(self, name: str) -> NDArray[np.generic]:
        return np.load(self.path / f"{name}.npy")

    def windows(self, kind: str, unit: int, stratum: int | None = None) -> pd.DataFrame:
        """The records of a unit: stratum, and offsets in the split of window and focus."""
        start, stop = self.array(f"{kind}/offsets")[unit : unit + 2]
        first = self.array("contexts/position")[self.array(f"{kind}/context")[start:stop]]
        table = pd.DataFrame(
            {
                "row": np.arange(start, stop),
                "stratum": self.array(f"{kind}/stratum")[start:stop],
                "start": first,
                "focus": first + self.array(f"{kind}/focus")[start:stop],
            }
        )
        return table if stratum is None else table[table.stratum == stratum]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c", zipf_blocks(0, BLOCKS, BLOCK, VOCAB), vocab=VOCAB)


@pytest.fixture(scope="module")
def source(corpus: Corpus) -> Source:
    """Whole-number embeddings give many exactly equal activations; the last neuron is silent, and so is a latent."""
    rng = np.random.default_rng(1)
    embedding = torch.from_numpy(rng.integers(-3, 4, (VOCAB, 5)).astype(np.float32))
    embedding[:, 4] = -1
    subject = FakeSubject(embedding, torch.randn(5, VOCAB, generator=torch.Generator().manual_seed(0)), mix=0.5)
    dictionary = random_dictionary(2, d_in=5, d_sae=9, bias=-0.8)
    dictionary.b_enc[3] = -100.0
    return Source(subject, HOOK, dictionary, "fake dictionary", corpus, "heldout")


@pytest.fixture(scope="module")
def harvested(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Harvested:
    path = tmp_path_factory.mktemp("stores") / "store"
    manifest = harvest(source, SETTINGS, path)
    blocks = np.asarray(source.corpus.split("heldout").tokens).astype(np.int64)
    assert isinstance(source.subject, FakeSubject)
    assert isinstance(source.dictionary, ReluL1)
    return Harvested(path, source, blocks, dense_activations(source.subject, source.dictionary, blocks), manifest)


def centred(focus: int, low: int, high: int) -> int:
    return min(max(focus - WINDOW // 2, low), high - WINDOW)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics(harvested: Harvested, kind: str) -> None:
    table, truth = pd.read_parquet(harvested.path / kind / "statistics.parquet"), harvested.truth[kind].astype(float)
    assert table.unit.tolist() == list(range(truth.shape[1]))
    assert table.fired.tolist() == (truth > 0).sum(axis=0).tolist()
    np.testing.assert_array_equal(table.density, (truth > 0).mean(axis=0))
    np.testing.assert_array_equal(table["max"], truth.max(axis=0))
    np.testing.assert_allclose(table["mean"], truth.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(table.mean_square, (truth**2).mean(axis=0), rtol=1e-6)
    assert np.isfinite(table.to_numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_histograms_and_slices(harvested: Harvested, kind: str) -> None:
    scale = pd.read_parquet(harvested.path / kind / "statistics.parquet").scale
    edges, counts = harvested.array(f"{kind}/interval_edges"), harvested.array(f"{kind}/interval_tokens")
    for unit, values in enumerate(harvested.truth[kind].T):
        fired, maximum = values[values > 0], values.max()
        bins = np.ceil(fired / scale[unit] * 2048).astype(int) - 1
        assert harvested.array(f"{kind}/histogram")[unit].tolist() == np.bincount(bins, minlength=2048).tolist()
        np.testing.assert_allclose(edges[unit], np.arange(14) * maximum / 13, atol=scale[unit] / 2048 / 2 + 1e-7)
        assert edges[unit, -1] == maximum
        inside = (values[:, None] > edges[unit, :-1]) & (values[:, None] <= edges[unit, 1:])
        assert counts[unit].tolist() == inside.sum(axis=0).tolist()
        assert counts[unit].sum() == len(fired)


@pytest.mark.parametrize("kind", KINDS)
def test_top_contexts(harvested: Harvested, kind: str) -> None:
    """One candidate a block, which is one segment here (20 tokens are not twice two windows of 6); ties by position."""
    ties = 0
    for unit, values in enumerate(harvested.truth[kind].T):
        peaks = values.reshape(BLOCKS, BLOCK)
        candidates = sorted(
            (-block.max(), number * BLOCK + int(block.argmax()))
            for number, block in enumerate(peaks)
            if block.max() > 0
        )
        expected = [focus for _, focus in candidates[: SETTINGS.top]]
        mine = harvested.windows(kind, unit, 0)
        assert mine.focus.tolist() == expected
        assert mine.start.tolist() == [centred(f, f // BLOCK * BLOCK, f // BLOCK * BLOCK + BLOCK) for f in expected]
        for row, start, focus in mine[["row", "start", "focus"]].itertuples(index=False):
            stored = harvested.array(f"{kind}/activations")[row]
            assert stored.argmax() == focus - start
        ties += sum(a[0] == b[0] for a, b in itertools.pairwise(candidates))
    assert ties > 20


@pytest.mark.parametrize("kind", KINDS)
def test_interval_samples(harvested: Harvested, kind: str) -> None:
    edges, counts = harvested.array(f"{kind}/interval_edges"), harvested.array(f"{kind}/interval_tokens")
    for unit, values in enumerate(harvested.truth[kind].T):
        for interval in range(13):
            mine = harvested.windows(kind, unit, 1 + interval)
            assert len(mine) == min(SETTINGS.per_interval, counts[unit, interval])
            assert mine.focus.is_unique
            value = values[mine.focus]
            assert ((value > edges[unit, interval]) & (value <= edges[unit, interval + 1])).all()
            low = mine.focus // BLOCK * BLOCK
            assert mine.start.tolist() == [centred(f, a, a + BLOCK) for f, a in zip(mine.focus, low, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_context(harvested: Harvested, kind: str) -> None:
    stream = harvested.blocks.reshape(-1)
    top_tokens = harvested.array(f"{kind}/top_tokens")
    for unit in range(len(top_tokens)):
        top = harvested.windows(kind, unit, 0)
        frequency = pd.Series(stream[top.focus]).value_counts()
        listed = [token for token in top_tokens[unit] if token >= 0]
        assert set(listed) == set(frequency.index)
        assert frequency[listed].is_monotonic_decreasing
        mine = harvested.windows(kind, unit, 100)
        assert set(stream[mine.focus]) <= set(listed)
        assert mine.focus.is_unique
        covered = {place for start in top.start for place in range(start, start + WINDOW)}
        assert not covered & {place for start in mine.start for place in range(start, start + WINDOW)}
        room = sum(
            not covered & set(range(start, start + WINDOW))
            for start in (
                centred(int(f), int(f) // BLOCK * BLOCK, int(f) // BLOCK * BLOCK + BLOCK)
                for f in np.flatnonzero(np.isin(stream, listed))
            )
        )
        assert len(mine) == min(SETTINGS.out_of_context, room)


@pytest.mark.parametrize("kind", KINDS)
def test_activations_of_records_and_random_contexts(harvested: Harvested, kind: str) -> None:
    truth = harvested.truth[kind]
    position = harvested.array("contexts/position")
    unit = np.repeat(np.arange(truth.shape[1]), np.diff(harvested.array(f"{kind}/offsets")))
    offsets = position[harvested.array(f"{kind}/context")][:, None] + np.arange(WINDOW)
    np.testing.assert_array_equal(harvested.array(f"{kind}/activations"), truth[offsets, unit[:, None]])
    places = position[harvested.array("random/context")][:, None] + np.arange(WINDOW)
    np.testing.assert_array_equal(harvested.array(f"{kind}/random"), np.moveaxis(truth[places], 2, 0))


def test_contexts_are_the_corpus_s_windows_with_their_documents(harvested: Harvested) -> None:
    position = harvested.array("contexts/position")
    assert (np.diff(position) > 0).all()
    offsets = position[:, None] + np.arange(WINDOW)
    np.testing.assert_array_equal(harvested.array("contexts/tokens"), harvested.blocks.reshape(-1)[offsets])
    assert (position // BLOCK == (position + WINDOW - 1) // BLOCK).all()
    split = harvested.source.corpus.split("heldout")
    expected = split.documents.document.iloc[split.document_index(position + WINDOW // 2)].tolist()
    documents = pd.read_parquet(harvested.path / "documents.parquet")
    assert documents.document.iloc[harvested.array("contexts/document")].tolist() == expected
    assert list(documents) == ["document", "domain", "source", "name"]
    assert json.loads((harvested.path / "vocab.json").read_text()) == harvested.source.corpus.vocab


def test_random_contexts_are_one_from_a_block_and_repeat_with_the_seed(harvested: Harvested) -> None:
    focus = harvested.array("contexts/position")[harvested.array("random/context")] + harvested.array("random/focus")
    assert len(focus) == SETTINGS.random
    assert len(set((focus // BLOCK).tolist())) == SETTINGS.random


@pytest.mark.parametrize("kind", KINDS)
def test_logit_weights(harvested: Harvested, kind: str) -> None:
    subject, dictionary = harvested.source.subject, harvested.source.dictionary
    assert isinstance(subject, FakeSubject)
    assert subject.unembedding is not None
    assert dictionary is not None
    weights = subject.unembedding.double().numpy()
    weights = dictionary.W_dec.double().numpy() @ weights if kind == "feature" else weights
    weights -= np.median(weights, axis=1, keepdims=True)
    for unit, row in enumerate(weights):
        top, bottom = np.argsort(-row)[:10], np.argsort(row)[:10]
        assert harvested.array(f"{kind}/logit_top_tokens")[unit].tolist() == top.tolist()
        assert harvested.array(f"{kind}/logit_bottom_tokens")[unit].tolist() == bottom.tolist()
        np.testing.assert_allclose(harvested.array(f"{kind}/logit_top_values")[unit], row[top], rtol=1e-6)
        np.testing.assert_allclose(harvested.array(f"{kind}/logit_bottom_values")[unit], row[bottom], rtol=1e-6)


def test_a_unit_that_never_fires_has_zeros_and_no_records(harvested: Harvested) -> None:
    for kind, unit in (("feature", 3), ("neuron", 4)):
        assert harvested.windows(kind, unit).empty
        row = pd.read_parquet(harvested.path / kind / "statistics.parquet").iloc[unit]
        assert row.drop("unit").tolist() == [0] * 6
        assert not harvested.array(f"{kind}/interval_edges")[unit].any()
        assert (harvested.array(f"{kind}/top_tokens")[unit] == -1).all()


def test_manifest(harvested: Harvested) -> None:
    dictionary = harvested.source.dictionary
    assert dictionary is not None
    records = {kind: len(harvested.array(f"{kind}/context")) for kind in KINDS}
    stored = json.loads((harvested.path / "manifest.json").read_text())
    assert stored == harvested.manifest
    files = stored.pop("files")
    assert set(files) == set(folder_bytes(harvested.path)) - {"manifest.json"}
    assert stored == {
        "format": "autointerp-context-store",
        "version": 1,
        "subject": {"name": "fake", "fingerprint": "0123456789abcdef"},
        "hook": HOOK,
        "corpus": {
            "name": "fake corpus",
            "split": "heldout",
            "tokens": BLOCKS * BLOCK,
            "fingerprint": harvested.source.corpus.split("heldout").fingerprint,
        },
        "dictionary": {"name": "fake dictionary", "fingerprint": dictionary.fingerprint()},
        "window": WINDOW,
        "precision": "float64",
        "seed": 5,
        "intervals": 13,
        "sampling": {"top": 7, "per_interval": 3, "random": 11, "out_of_context": 9, "segments_per_block": 1},
        "control": None,
        "kinds": {
            "feature": {"units": 9, "records": records["feature"]},
            "neuron": {"units": 5, "records": records["neuron"]},
        },
    }


def test_without_a_dictionary_there_are_neurons_alone(source: Source, harvested: Harvested, tmp_path: Path) -> None:
    harvest(replace(source, dictionary=None, dictionary_name=None), SETTINGS, tmp_path / "store")
    mine, whole = folder_bytes(tmp_path / "store"), folder_bytes(harvested.path)
    assert not any(name.startswith("feature") for name in mine)
    # The units do not know of one another; only which row a context has depends on all of them.
    for name in ("activations", "random", "focus", "stratum", "histogram", "interval_tokens"):
        assert mine[f"neuron/{name}.npy"] == whole[f"neuron/{name}.npy"]


def test_without_a_direct_path_there_are_no_logit_files(source: Source, tmp_path: Path) -> None:
    assert isinstance(source.subject, FakeSubject)
    harvest(replace(source, subject=replace(source.subject, unembedding=None)), SETTINGS, tmp_path / "store")
    assert not any("logit" in name for name in folder_bytes(tmp_path / "store"))


def test_a_part_of_the_split_is_read_evenly(source: Source, harvested: Harvested, tmp_path: Path) -> None:
    manifest = harvest(source, replace(SETTINGS, tokens=30 * BLOCK), tmp_path / "store")
    assert manifest["corpus"]["tokens"] == 30 * BLOCK
    blocks = set((np.load(tmp_path / "store/contexts/position.npy") // BLOCK).tolist())
    assert blocks <= set(range(0, BLOCKS, 3))
    fired = pd.read_parquet(tmp_path / "store/feature/statistics.parquet").fired
    truth = harvested.truth["feature"].reshape(BLOCKS, BLOCK, -1)[::3]
    assert fired.tolist() == (truth > 0).sum(axis=(0, 1)).tolist()


def test_ids_beyond_65536_give_the_same_store_of_other_ids(source: Source, tmp_path: Path) -> None:
    shift = 70_000

    def shifted(ids: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.where(ids > 0, ids + shift, ids)

    assert isinstance(source.subject, FakeSubject)
    small = replace(source, subject=replace(source.subject, unembedding=None))
    high = torch.cat([source.subject.embedding[:1], torch.zeros(shift, 5), source.subject.embedding[1:]])
    blocks = shifted(np.asarray(source.corpus.split("heldout").tokens).astype(np.int64))
    corpus = write_corpus(tmp_path / "corpus", blocks, vocab=VOCAB + shift)
    assert corpus.split("heldout").tokens.dtype == np.uint32
    harvest(small, SETTINGS, tmp_path / "small")
    harvest(replace(small, subject=replace(small.subject, embedding=high), corpus=corpus), SETTINGS, tmp_path / "large")
    two = folder_bytes(tmp_path / "small"), folder_bytes(tmp_path / "large")
    assert two[0].keys() == two[1].keys()
    differ = {name for name in two[0] if two[0][name] != two[1][name]}
    ids = {"contexts/tokens.npy", "feature/top_tokens.npy", "neuron/top_tokens.npy"}
    assert differ == ids | {"manifest.json", "vocab.json"}
    for name in ids:
        assert (np.load(tmp_path / "large" / name) == shifted(np.load(tmp_path / "small" / name))).all()
