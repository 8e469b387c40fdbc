"""The same bytes whatever the batch, the threads, the interruptions; and what a harvest refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
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

import sae.harvest.scan as scan_module
from sae.corpus import Corpus
from sae.errors import BadInput, SaeError
from sae.harvest import HarvestSettings, Source, harvest

VOCAB, BLOCK = 60, 24
SETTINGS = HarvestSettings(window=8, top=5, per_interval=2, random=10, out_of_context=6, batch=4)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c", zipf_blocks(3, 50, BLOCK, VOCAB), vocab=VOCAB)


@pytest.fixture(scope="module")
def source(corpus: Corpus) -> Source:
    subject = FakeSubject.random(0, vocab=VOCAB, width=16)
    return Source(subject, HOOK, random_dictionary(0, d_in=16, d_sae=40, bias=-1.0), "d", corpus, "heldout")


@pytest.fixture(scope="module")
def whole(source: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("whole") / "store"
    harvest(source, SETTINGS, path)
    return folder_bytes(path)


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2, "the harvest left another number of threads"
    torch.set_num_threads(before)


@pytest.mark.parametrize("batch", [1, 3, 8, 500])
def test_the_batch_does_not_show(source: Source, whole: dict[str, bytes], tmp_path: Path, batch: int) -> None:
    harvest(source, replace(SETTINGS, batch=batch), tmp_path / "store")
    assert folder_bytes(tmp_path / "store") == whole


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize("batch", [1, 3])
def test_threads_do_not_show(source: Source, whole: dict[str, bytes], tmp_path: Path, batch: int) -> None:
    harvest(source, replace(SETTINGS, batch=batch), tmp_path / "store")
    assert folder_bytes(tmp_path / "store") == whole


def test_the_seed_shows_in_samples_alone(source: Source, whole: dict[str, bytes], tmp_path: Path) -> None:
    harvest(source, replace(SETTINGS, seed=1), tmp_path / "store")
    other = folder_bytes(tmp_path / "store")
    for name in ("histogram.npy", "interval_tokens.npy", "statistics.parquet", "top_tokens.npy"):
        assert other[f"feature/{name}"] == whole[f"feature/{name}"]
    assert other["feature/activations.npy"] != whole["feature/activations.npy"]
    assert other["random/focus.npy"] != whole["random/focus.npy"]


@pytest.mark.parametrize("batches", [1, 5, 13, 14, 15])
def test_stopped_and_resumed_it_gives_the_same_bytes(
    source: Source, whole: dict[str, bytes], tmp_path: Path, batches: int
) -> None:
    """13 batches are the scan; later the second pass is interrupted."""
    out, asked = tmp_path / "store", 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == batches

    with pytest.raises(KeyboardInterrupt):
        harvest(source, SETTINGS, out, stop=stop)
    assert not out.exists()
    done: list[int] = []
    harvest(source, replace(SETTINGS, batch=3), out, progress=lambda stage, n, of: done.append(n))
    assert done[0] == min(4 * batches, 50) * BLOCK  # it went on, rather than begin again
    assert folder_bytes(out) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_killed_with_sigkill_it_goes_on_to_the_same_bytes(
    whole: dict[str, bytes], source: Source, tmp_path: Path
) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from harvest_fakes import HOOK, FakeSubject, random_dictionary
import sae.harvest.scan as scan
from sae.corpus import Corpus
from sae.harvest import HarvestSettings, Source, harvest
scan.CHECKPOINT_TOKENS = 200
def progress(stage, done, total):
    if done > 700:
        os.kill(os.getpid(), signal.SIGKILL)
source = Source(FakeSubject.random(0, vocab=60, width=16), HOOK, random_dictionary(0, d_in=16, d_sae=40, bias=-1.0),
                "d", Corpus.open(sys.argv[1]), "heldout")
settings = HarvestSettings(window=8, top=5, per_interval=2, random=10, out_of_context=6, batch=4)
harvest(source, settings, Path(sys.argv[2]), progress=progress)
"""
    out = tmp_path / "store"
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])
    killed = subprocess.run(
        [sys.executable, "-c", script, str(source.corpus.path), str(out)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    done: list[int] = []
    harvest(source, SETTINGS, out, progress=lambda stage, n, of: done.append(n))
    assert done[0] > 500
    assert folder_bytes(out) == whole


def test_a_damaged_checkpoint_is_not_used(source: Source, whole: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "store.scan.npz").write_bytes(b"not a checkpoint")
    harvest(source, SETTINGS, tmp_path / "store")
    assert folder_bytes(tmp_path / "store") == whole


def test_a_checkpoint_of_another_harvest_is_not_used(source: Source, whole: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        harvest(source, replace(SETTINGS, seed=9), tmp_path / "store", stop=lambda: True)
    assert (tmp_path / "store.scan.npz").exists()
    harvest(source, SETTINGS, tmp_path / "store")
    assert folder_bytes(tmp_path / "store") == whole


def test_peer_defect_what_was_made_of_another_corpus_is_not_used(
    source: Source, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """A peer's cache of tokens has a name that leaves out the dataset. Here neither checkpoint nor store is taken."""
    blocks = zipf_blocks(4, 50, BLOCK, VOCAB)
    other = replace(source, corpus=write_corpus(tmp_path / "c", blocks, vocab=VOCAB))
    with pytest.raises(KeyboardInterrupt):
        harvest(other, SETTINGS, tmp_path / "store", stop=lambda: True)
    assert (tmp_path / "store.scan.npz").exists()
    harvest(source, SETTINGS, tmp_path / "store")
    assert folder_bytes(tmp_path / "store") == whole
    with pytest.raises(BadInput, match=r"holds another harvest .*corpus"):
        harvest(other, SETTINGS, tmp_path / "store")
    assert folder_bytes(tmp_path / "store") == whole


def test_checkpoints_are_written_along_the_way(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "CHECKPOINT_TOKENS", 5 * BLOCK)
    saved: list[int] = []
    save = scan_module.Scan.save
    monkeypatch.setattr(scan_module.Scan, "save", lambda self, *rest: (saved.append(self.done), save(self, *rest)))
    harvest(source, SETTINGS, tmp_path / "store")
    assert saved == [8, 16, 24, 32, 40, 48, 50]


def test_a_store_that_is_there_is_found_and_not_made_again(source: Source, tmp_path: Path) -> None:
    manifest = harvest(source, SETTINGS, tmp_path / "store")
    asked: list[object] = []
    again = harvest(source, replace(SETTINGS, batch=7), tmp_path / "store", progress=lambda *told: asked.append(told))
    assert again == manifest
    assert not asked


def test_a_store_of_other_settings_is_left_alone(source: Source, tmp_path: Path) -> None:
    harvest(source, SETTINGS, tmp_path / "store")
    before = folder_bytes(tmp_path / "store")
    with pytest.raises(BadInput, match=r"holds another harvest .*sampling"):
        harvest(source, replace(SETTINGS, top=6), tmp_path / "store")
    assert folder_bytes(tmp_path / "store") == before


def test_a_folder_of_something_else_is_left_alone(source: Source, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="not the manifest of a context store"):
        harvest(source, SETTINGS, tmp_path / "store")
    assert (tmp_path / "store" / "thesis.txt").exists()


def test_float32_gives_nearly_the_same_store(source: Source, tmp_path: Path, whole: dict[str, bytes]) -> None:
    manifest = harvest(source, replace(SETTINGS, precision="float32"), tmp_path / "store")
    assert manifest["precision"] == "float32"
    exact = np.frombuffer(whole["feature/interval_tokens.npy"][128:], np.int64)
    rough = np.load(tmp_path / "store/feature/interval_tokens.npy").reshape(-1)
    assert np.abs(exact - rough).sum() < 0.01 * exact.sum()


def test_planted_tokens_are_found(corpus: Corpus, tmp_path: Path) -> None:
    """Neuron k is 1 on token k and 0 elsewhere; its feature, the same less a threshold: all contexts hold the token."""
    subject = FakeSubject(torch.eye(VOCAB), None)
    dictionary = random_dictionary(0, d_in=VOCAB, d_sae=VOCAB, bias=-0.25)
    dictionary.W_enc.copy_(torch.eye(VOCAB))
    dictionary.b_dec.zero_()
    harvest(Source(subject, HOOK, dictionary, "planted", corpus, "heldout"), SETTINGS, tmp_path / "s")
    stream = np.asarray(corpus.split("heldout").tokens).reshape(-1)
    for kind, value in (("feature", 0.75), ("neuron", 1.0)):
        load = {
            name: np.load(tmp_path / "s" / kind / f"{name}.npy") for name in ("offsets", "focus", "context", "stratum")
        }
        activations = np.load(tmp_path / "s" / kind / "activations.npy")
        tokens = np.load(tmp_path / "s/contexts/tokens.npy")[load["context"]]
        unit = np.repeat(np.arange(VOCAB), np.diff(load["offsets"]))
        np.testing.assert_array_equal(activations, np.float32(value) * (tokens == unit[:, None]))
        assert (tokens[np.arange(len(unit)), load["focus"]] == unit).all()
        counts = np.bincount(unit[load["stratum"] == 0], minlength=VOCAB)
        blocks = [len(np.unique(np.flatnonzero(stream == token) // BLOCK)) for token in range(VOCAB)]
        assert counts.tolist() == np.minimum(blocks, SETTINGS.top).tolist()


def test_segments_of_long_blocks_give_several_top_contexts_that_do_not_overlap(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c", zipf_blocks(1, 2, 100, 30), vocab=30)
    subject = FakeSubject.random(3, vocab=30, width=4)
    source = Source(subject, HOOK, None, None, corpus, "heldout")
    manifest = harvest(source, HarvestSettings(window=7, top=50, random=1), tmp_path / "s")
    assert manifest["sampling"]["segments_per_block"] == 7
    offsets, stratum = (np.load(tmp_path / f"s/neuron/{name}.npy") for name in ("offsets", "stratum"))
    start = np.load(tmp_path / "s/contexts/position.npy")[np.load(tmp_path / "s/neuron/context.npy")]
    focus, activations = (np.load(tmp_path / f"s/neuron/{name}.npy") for name in ("focus", "activations"))
    truth = dense_activations(subject, None, np.asarray(corpus.split("heldout").tokens))["neuron"]
    segment = np.arange(200) // 100 * 7 + np.arange(200) % 100 * 7 // 100
    for unit in range(4):
        rows = np.arange(*offsets[unit : unit + 2])
        rows = rows[stratum[rows] == 0]
        assert len(rows) == len(set(segment[truth[:, unit] > 0].tolist()))
        assert (np.diff(np.sort(start[rows])) >= 7).all()
        assert (activations[rows].argmax(axis=1) == focus[rows]).all()


def refusal(source: Source, settings: HarvestSettings = SETTINGS, out: Path = Path("never")) -> str:
    with pytest.raises(BadInput) as caught:
        harvest(source, settings, out)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    return str(caught.value)


def test_what_does_not_fit_is_refused(source: Source, corpus: Corpus, tmp_path: Path) -> None:
    dictionary = random_dictionary(0, d_in=7, d_sae=9, bias=0.0)
    assert "reads 7 activations, fake has 16" in refusal(replace(source, dictionary=dictionary))
    other = replace(random_dictionary(0, d_in=16, d_sae=9, bias=0.0), hook_name="elsewhere")
    assert "over hook 'elsewhere'" in refusal(replace(source, dictionary=other))
    assert "split 'train' is empty" in refusal(replace(source, split="train"))
    assert "--window 25 is longer" in refusal(source, replace(SETTINGS, window=25))
    assert isinstance(source.subject, FakeSubject)
    assert "reads 20 at once" in refusal(replace(source, subject=replace(source.subject, context=20)))
    small = FakeSubject.random(0, vocab=VOCAB - 1, width=16)
    assert "vocabulary of 60 tokens" in refusal(replace(source, subject=small))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 1}, "--window is 1"),
        ({"per_interval": 0}, "--per-interval is 0"),
        ({"random": -1}, "--random is -1"),
        ({"tokens": 0}, "--tokens is 0"),
        ({"precision": "float16"}, "--precision 'float16'"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


def test_activations_that_are_not_finite_are_refused(source: Source, tmp_path: Path) -> None:
    assert isinstance(source.subject, FakeSubject)
    embedding = source.subject.embedding.clone()
    embedding[5, 2] = torch.nan
    with pytest.raises(SaeError, match="not finite"):
        harvest(replace(source, subject=replace(source.subject, embedding=embedding)), SETTINGS, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_place_that_cannot_be_written_is_refused_before_the_scan(source: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told: list[object] = []
    with pytest.raises(BadInput, match="can be written with --out"):
        harvest(source, SETTINGS, tmp_path / "file" / "store", progress=lambda *news: told.append(news))
    assert not told


def test_none_asked_for_is_none_stored(source: Source, tmp_path: Path) -> None:
    harvest(source, replace(SETTINGS, random=0, out_of_context=0), tmp_path / "s")
    assert np.load(tmp_path / "s/feature/random.npy").shape == (40, 0, 8)
    assert 100 not in np.load(tmp_path / "s/feature/stratum.npy")
