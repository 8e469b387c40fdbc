"""What a finished harvest puts into a store: the tables and arrays beside the activations."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sae.corpus import Corpus
from sae.harvest.logits import LogitTokens
from sae.harvest.records import Records
from sae.harvest.scan import Text
from sae.harvest.slices import edge_bins, slice_counts
from sae.harvest.tally import UnitTally
from sae.store import StoreWriter
from sae.store.layout import BINS


@dataclass(frozen=True)
class Contexts:
    """The distinct windows of a store: where each begins, int64 [n_contexts], ascending."""

    start: NDArray[np.int64]

    def rows(self, start: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the windows that begin at these offsets, all of which are there."""
        return np.searchsorted(self.start, start)


def write_contexts(store: StoreWriter, contexts: Contexts, text: Text, corpus: Corpus, split: str, window: int) -> None:
    """vocab.json, documents.parquet (those that are pointed to) and contexts/."""
    store.text("vocab.json", json.dumps(corpus.vocab, ensure_ascii=False))
    n_contexts = len(contexts.start)
    tokens = store.map("contexts/tokens.npy", np.int32, (n_contexts, window))
    for first in range(0, n_contexts, 1 << 14):
        start = contexts.start[first : first + (1 << 14)]
        tokens[first : first + len(start)] = text.tokens_at(start[:, None] + np.arange(window))
    documents, document = np.unique(
        corpus.split(split).document_index(contexts.start + window // 2), return_inverse=True
    )
    columns = ["document", "domain", "source", "name"]
    store.table("documents.parquet", corpus.split(split).documents[columns].iloc[documents])
    store.save("contexts/length.npy", np.full(n_contexts, window), np.uint16)
    store.save("contexts/document.npy", document, np.int32)
    store.save("contexts/position.npy", contexts.start, np.int64)


def write_random(store: StoreWriter, contexts: Contexts, focus: NDArray[np.int64], start: NDArray[np.int64]) -> None:
    """random/: the windows all units are shown on."""
    store.save("random/context.npy", contexts.rows(start), np.int32)
    store.save("random/focus.npy", focus - start, np.uint16)


def write_records(store: StoreWriter, kind: str, contexts: Contexts, records: Records, n_units: int) -> None:
    """Which windows each unit of a kind is shown on, and why."""
    store.save(f"{kind}/offsets.npy", np.searchsorted(records.unit, np.arange(n_units + 1)), np.int64)
    store.save(f"{kind}/context.npy", contexts.rows(records.start), np.int32)
    store.save(f"{kind}/focus.npy", records.focus - records.start, np.uint16)
    store.save(f"{kind}/stratum.npy", records.stratum, np.uint8)


def highest(tally: UnitTally) -> NDArray[np.float32]:
    """The highest activation of each unit, 0 where it never fired: its first peak."""
    peaks = tally.peaks.settle()
    value = np.zeros(tally.n_units, np.float32)
    units, first = np.unique(peaks.unit, return_index=True)
    value[units] = peaks.value[first]
    return value


def write_statistics(store: StoreWriter, kind: str, tally: UnitTally, tokens: int) -> None:
    """statistics.parquet, the histogram, and the slices of [0, max] with the tokens that each stands for."""
    most = highest(tally)
    fired = tally.histogram.sum(axis=1)
    statistics = {
        "unit": np.arange(tally.n_units),
        "fired": fired,
        "density": fired / tokens,
        "max": most,
        # As float32: the last bits of a sum of so many are not the same on all processors.
        "mean": (tally.sums / tokens).astype(np.float32),
        "mean_square": (tally.squares / tokens).astype(np.float32),
        "scale": tally.scale,
    }
    store.table(f"{kind}/statistics.parquet", pd.DataFrame(statistics))
    store.save(f"{kind}/histogram.npy", tally.histogram, np.int64)
    edges = edge_bins(most, tally.scale)
    values = edges * (tally.scale / BINS)[:, None]
    values[:, -1] = most  # rather than the end of its bin: nothing lies between
    store.save(f"{kind}/interval_edges.npy", values, np.float32)
    store.save(f"{kind}/interval_tokens.npy", slice_counts(tally.histogram, edges), np.int64)


def write_tokens(store: StoreWriter, kind: str, top_tokens: NDArray[np.int64], logits: LogitTokens | None) -> None:
    """The units' top tokens, and the ends of their logit weights if they have any."""
    store.save(f"{kind}/top_tokens.npy", top_tokens, np.int32)
    if logits is None:
        return
    store.save(f"{kind}/logit_top_tokens.npy", logits.top_tokens, np.int32)
    store.save(f"{kind}/logit_top_values.npy", logits.top_values, np.float32)
    store.save(f"{kind}/logit_bottom_tokens.npy", logits.bottom_tokens, np.int32)
    store.save(f"{kind}/logit_bottom_values.npy", logits.bottom_values, np.float32)
