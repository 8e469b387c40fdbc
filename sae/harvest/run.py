"""A harvest from beginning to end: scan, choose, materialise, and a store as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae.corpus import Corpus
from sae.dictionaries import Dictionary
from sae.errors import BadInput
from sae.harvest import contents
from sae.harvest.activations import LatentSource, NeuronSource, check_fit
from sae.harvest.elsewhere import out_of_context
from sae.harvest.logits import logit_tokens
from sae.harvest.materialise import Materialiser, Target, check_foci
from sae.harvest.priorities import generator
from sae.harvest.records import Records, TopContexts, choose_records, random_foci, top_contexts, window_starts
from sae.harvest.scan import Progress, Scan, Text, choose_text, segments_per_block
from sae.harvest.settings import HarvestSettings
from sae.harvest.slices import edge_bins, sample_slices
from sae.harvest.tally import UnitTally
from sae.store import StoreWriter, read_manifest
from sae.store.layout import INTERVALS
from sae.subjects.base import Subject

SHUFFLED_CONTROL = "shuffled_weights"
_TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
"""How far apart, in parts of a unit's scale, an activation may come out in batches of another shape."""


@dataclass(frozen=True)
class Source:
    """What is harvested: the neurons at a hook, the latents of a dictionary over it, and the text they are shown.

    control: None, or what kind of control this subject is, such as "shuffled_weights".
    """

    subject: Subject
    hook: str
    dictionary: Dictionary | None
    dictionary_name: str | None
    corpus: Corpus
    split: str
    control: str | None = None


def harvest(
    source: Source,
    settings: HarvestSettings,
    out: Path,
    *,
    progress: Progress = lambda stage, done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Write a context store of all units to `out` and return its manifest. `sae.store.layout` describes the store.

    A harvest that was stopped or killed goes on from its last checkpoint, which lies beside `out`; a store of this
    very harvest that is there already is left as it is. `progress` is told the stage ("scan", then "records"), the
    tokens done and the tokens in all. `stop` is asked now and then; when it turns true, the state is saved and
    KeyboardInterrupt raised.

    Raises BadInput when the parts do not fit each other, the split is empty or `out` holds something else, and
    SaeError when activations are not finite.
    """
    _check(source, settings)
    text = choose_text(source.corpus.split(source.split).tokens, settings.tokens)
    description = _describe(source, settings, text)
    checkpoint = out.with_name(out.name + ".scan.npz")
    if out.exists():
        manifest = _existing(out, description)
        checkpoint.unlink(missing_ok=True)
        return manifest
    neurons = NeuronSource(source.subject, source.hook, settings.precision)
    latents = LatentSource(source.dictionary, settings.precision) if source.dictionary else None
    identity = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    store = StoreWriter(out)  # before the scan, which a place that cannot be written would lose
    tallies = Scan(neurons, latents, text, settings).run(checkpoint, identity, progress, stop)
    plan = _plan(tallies, text, settings)
    targets = _write(store, plan, source, text, settings.window)
    Materialiser(neurons, latents, text, settings.window, plan.random_start, targets).run(progress, stop)
    for name, target in targets.items():
        check_foci(name, target, tallies[name].scale, _TOLERANCE[settings.precision])
    kinds = {name: {"units": kind.tally.n_units, "records": len(kind.records)} for name, kind in plan.kinds.items()}
    manifest = store.finish({**description, "kinds": kinds})
    checkpoint.unlink()
    return manifest


def _check(source: Source, settings: HarvestSettings) -> None:
    subject, corpus = source.subject, source.corpus
    check_fit(subject, source.hook, source.dictionary)
    blocks = corpus.split(source.split).tokens
    if not len(blocks):
        raise BadInput(f"{corpus.path}: the split {source.split!r} is empty; choose another, or add text")
    if settings.window > corpus.block_tokens:
        raise BadInput(
            f"harvest: --window {settings.window} is longer than the corpus's blocks ({corpus.block_tokens})"
        )
    if corpus.block_tokens > subject.context:
        raise BadInput(
            f"{corpus.path}: blocks of {corpus.block_tokens} tokens, but {subject.name} reads {subject.context} at "
            "once; build the corpus with --block-tokens of at most that"
        )
    if corpus.vocab_size > subject.vocab_size:
        raise BadInput(
            f"{corpus.path}: a vocabulary of {corpus.vocab_size} tokens, but {subject.name} has {subject.vocab_size}; "
            "use a corpus made with the subject's tokenizer"
        )


def _describe(source: Source, settings: HarvestSettings, text: Text) -> dict[str, Any]:
    """The manifest but for what comes out: whatever the store's content depends on."""
    subject, corpus, dictionary = source.subject, source.corpus, source.dictionary
    return {
        "subject": {"name": subject.name, "fingerprint": subject.fingerprint},
        "hook": source.hook,
        "corpus": {
            "name": corpus.name,
            "split": source.split,
            "tokens": text.tokens,
            "fingerprint": corpus.split(source.split).fingerprint,
        },
        "dictionary": dictionary and {"name": source.dictionary_name, "fingerprint": dictionary.fingerprint()},
        "window": settings.window,
        "precision": settings.precision,
        "seed": settings.seed,
        "intervals": INTERVALS,
        "sampling": {
            "top": settings.top,
            "per_interval": settings.per_interval,
            "random": settings.random,
            "out_of_context": settings.out_of_context,
            "segments_per_block": segments_per_block(text.block_tokens, settings.window),
        },
        "control": source.control,
    }


def _existing(out: Path, description: dict[str, Any]) -> dict[str, Any]:
    manifest = read_manifest(out)
    for name, value in description.items():
        if manifest.get(name) != value:
            raise BadInput(
                f"{out} holds another harvest ({name}: {manifest.get(name)!r}, not {value!r}); "
                "name another folder with --out, or remove it first"
            )
    return manifest


@dataclass(frozen=True)
class _Kind:
    tally: UnitTally
    top: TopContexts
    records: Records


@dataclass(frozen=True)
class _Plan:
    """Which windows the store will hold: those of each kind's records, and the random ones."""

    kinds: dict[str, _Kind]
    random_focus: NDArray[np.int64]
    random_start: NDArray[np.int64]
    contexts: contents.Contexts


def _plan(tallies: Mapping[str, UnitTally], text: Text, settings: HarvestSettings) -> _Plan:
    kinds = {kind: _choose(kind, tally, text, settings) for kind, tally in tallies.items()}
    focus = random_foci(text, settings.random, settings.seed)
    start = window_starts(focus, settings.window, text.block_tokens)
    every = np.concatenate([start, *(kind.records.start for kind in kinds.values())])
    return _Plan(kinds, focus, start, contents.Contexts(np.unique(every)))


def _choose(kind: str, tally: UnitTally, text: Text, settings: HarvestSettings) -> _Kind:
    size, window = text.block_tokens, settings.window
    top = top_contexts(tally, text, window)
    elsewhere = out_of_context(top, text, window, settings.out_of_context, settings.seed)
    edges = edge_bins(contents.highest(tally), tally.scale)
    rng = generator(settings.seed, f"harvest slices of {kind}")
    sampled = sample_slices(tally, edges, settings.per_interval, size, rng)
    return _Kind(tally, top, choose_records(top, sampled, elsewhere, window, size))


def _write(store: StoreWriter, plan: _Plan, source: Source, text: Text, window: int) -> dict[str, Target]:
    """Everything but the activations, and the files that these are to go into."""
    contents.write_contexts(store, plan.contexts, text, source.corpus, source.split, window)
    contents.write_random(store, plan.contexts, plan.random_focus, plan.random_start)
    targets = {}
    for name, kind in plan.kinds.items():
        contents.write_records(store, name, plan.contexts, kind.records, kind.tally.n_units)
        contents.write_statistics(store, name, kind.tally, text.tokens)
        dictionary = source.dictionary if name == "feature" else None
        contents.write_tokens(store, name, kind.top.tokens, logit_tokens(source.subject, source.hook, dictionary))
        targets[name] = Target(
            kind.records,
            store.map(f"{name}/activations.npy", np.float32, (len(kind.records), window)),
            store.map(f"{name}/random.npy", np.float32, (kind.tally.n_units, len(plan.random_start), window)),
        )
    return targets
