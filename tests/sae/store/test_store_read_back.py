"""The two wings meet: what the harvest writes, the reader without torch reads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "harvest"))
from harvest_fakes import HOOK, FakeSubject, dense_activations, random_dictionary, write_corpus, zipf_blocks

from autointerp.records import ContextStore
from autointerp.types import Kind
from sae.harvest import HarvestSettings, Source, harvest


@pytest.mark.parametrize("with_dictionary", [True, False])
def test_the_reader_reads_a_harvest(tmp_path: Path, with_dictionary: bool) -> None:
    corpus = write_corpus(tmp_path / "c", zipf_blocks(0, 60, 16, 30), vocab=30)
    subject = FakeSubject.random(0, vocab=30, width=6)
    dictionary = random_dictionary(1, d_in=6, d_sae=10, bias=-1.0) if with_dictionary else None
    source = Source(
        subject, HOOK, dictionary, "d" if with_dictionary else None, corpus, "heldout", control="shuffled_weights"
    )
    harvest(source, HarvestSettings(window=8, top=6, per_interval=2, random=9, out_of_context=5), tmp_path / "s")
    store = ContextStore.open(tmp_path / "s", verify=True)
    assert store.window == 8
    assert store.control == "shuffled_weights"
    assert store.n_tokens == 60 * 16
    truth = dense_activations(subject, dictionary, np.asarray(corpus.split("heldout").tokens))
    assert {kind.value for kind in store.kinds} == set(truth)
    for kind, values in truth.items():
        assert store.firing(Kind(kind)).tolist() == np.flatnonzero((values > 0).any(axis=0)).tolist()
        for unit in store.unit_ids(Kind(kind)):
            assert store.statistics(unit).maximum == values[:, unit.index].max()
