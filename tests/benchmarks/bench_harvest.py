"""`sae harvest` against a bare pass that only runs the subject and encodes, over the same tokens in the same precision.

The subject has the paper's shape and random weights; biases are set so that about 10 of 4,096 latents and a quarter of
512 neurons are above zero on a token. The bare pass is the loop one would write, with the encoder's affine map
folded and one buffer that is used again, in two forms: torch's threads for each batch, and a batch for each thread,
as the harvest does it. The ratios are against the faster. All take turns, so that other work on the machine hits all;
on a busy one the ratio of processor time is the steadier of the two.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sae.corpus import Corpus
from sae.dictionaries import ReluL1
from sae.harvest import HarvestSettings, Source, harvest
from sae.harvest.activations import LatentSource, NeuronSource
from sae.harvest.ahead import computed_ahead
from sae.harvest.scan import Scan, choose_text
from sae.subjects import MLP_HOOK, OneLayerConfig, OneLayerSubject, OneLayerTransformer
from sae.subjects.processor import keep_freed_memory
from tests.sae.harvest.harvest_fakes import write_corpus, zipf_blocks

TOKENS, BLOCK, VOCAB, LATENTS, ROUNDS = 400_000, 128, 4096, 4096, 8
Rows = NDArray[np.int64]


def run() -> dict[str, Any]:
    """Tokens per second of each way, and ratios to the bare pass: of the scan, and of the whole harvest to a store."""
    keep_freed_memory()
    subject = _subject()
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(Path(folder) / "corpus", zipf_blocks(0, TOKENS // BLOCK, BLOCK, VOCAB), vocab=VOCAB)
        dictionary, fired = _dictionary(subject, np.asarray(corpus.split("heldout").tokens[:32]))
        seconds = _scan_and_bare(subject, dictionary, corpus)
        source = Source(subject, MLP_HOOK, dictionary, "bench", corpus, "heldout")
        whole = _seconds(lambda: harvest(source, HarvestSettings(), Path(folder) / "store"))
    seconds["harvest"] = whole
    tokens = TOKENS // BLOCK * BLOCK
    return {
        "shape": {"d_in": 512, "d_sae": LATENTS, "tokens": tokens, "precision": "float64"},
        "fired_per_token": fired,
        "threads": torch.get_num_threads(),
        "tokens_per_second": {name: round(tokens / both[0]) for name, both in seconds.items()},
        "of_bare": _of_bare({name: both[0] for name, both in seconds.items()}),
        "of_bare_in_processor_time": _of_bare({name: both[1] for name, both in seconds.items()}),
    }


def _of_bare(seconds: dict[str, float]) -> dict[str, float]:
    bare = min(seconds["bare"], seconds["bare_batch_per_thread"])
    return {name: round(bare / seconds[name], 3) for name in ("scan", "harvest")}


def _scan_and_bare(subject: OneLayerSubject, dictionary: ReluL1, corpus: Corpus) -> dict[str, NDArray[np.float64]]:
    """Seconds, and seconds of processor time, over all tokens; the ways take turns."""
    settings = HarvestSettings()
    text = choose_text(corpus.split("heldout").tokens, None)
    neurons, latents = NeuronSource(subject, MLP_HOOK, "float64"), LatentSource(dictionary, "float64")
    scan = Scan(neurons, latents, text, settings)
    threads = torch.get_num_threads()
    weight, bias = (tensor.double() for tensor in dictionary.encoder_affine())
    buffers = [torch.empty(settings.batch * BLOCK, LATENTS, dtype=torch.float64) for _ in range(threads + 1)]

    def bare(rows: Rows, slot: int) -> None:
        x = neurons(text.blocks[rows])
        torch.relu_(torch.addmm(bias, x, weight, out=buffers[slot][: len(x)]))

    def plain(batches: Sequence[Rows]) -> None:
        for rows in batches:
            bare(rows, 0)

    def batch_per_thread(batches: Sequence[Rows]) -> None:
        for _ in computed_ahead(bare, batches, threads):
            pass

    def scanned(batches: Sequence[Rows]) -> None:
        with closing(computed_ahead(scan.compute, batches, threads)) as computed:
            for batch in computed:
                scan.tally(batch)

    ways = {"bare": plain, "bare_batch_per_thread": batch_per_thread, "scan": scanned}
    seconds = {name: np.zeros(2) for name in ways}
    every = scan.batches()
    for way in (plain, batch_per_thread):  # what is allocated once is not counted for either
        way(every[: threads + 1])
    for part in np.array_split(np.arange(len(every)), ROUNDS):
        batches = [every[number] for number in part]
        for name, way in ways.items():
            seconds[name] += _seconds(partial(way, batches))
    return seconds


def _seconds(work: Callable[[], object]) -> NDArray[np.float64]:
    """Seconds on the clock, and of the processors."""
    clock, processors = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - clock, time.process_time() - processors])


def _subject() -> OneLayerSubject:
    model = OneLayerTransformer(OneLayerConfig(d_vocab=VOCAB, n_ctx=BLOCK))
    model.init_weights(np.random.default_rng(0))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("mlp.b_in"):
                parameter.fill_(-0.5)
    return OneLayerSubject(model, "bench")


def _dictionary(subject: OneLayerSubject, blocks: NDArray[np.uint16]) -> tuple[ReluL1, dict[str, float]]:
    """Random directions, each with the bias that lets it fire on 10 tokens in 4,096; and what fires on a token."""
    x = subject.activations(torch.from_numpy(blocks.astype(np.int64)), MLP_HOOK).reshape(-1, 512)
    decoder = torch.randn(LATENTS, 512, generator=torch.Generator().manual_seed(0))
    decoder /= decoder.norm(dim=1, keepdim=True)
    centre = x.mean(dim=0)
    bias = -torch.quantile((x - centre) @ decoder.T, 1 - 10 / LATENTS, dim=0)
    dictionary = ReluL1(decoder.T.contiguous(), bias, decoder, centre, MLP_HOOK)
    latents = dictionary.encode(x)
    return dictionary, {
        "features": round(float((latents > 0).sum() / len(x)), 1),
        "neurons": round(float((x > 0).sum() / len(x)), 1),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))  # noqa: T201
