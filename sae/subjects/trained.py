"""From a corpus to the folder of a trained subject, and from one such folder to another precision."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sae.corpus.reader import Corpus
from sae.corpus.tokenizer import EOT
from sae.errors import BadInput
from sae.subjects.checkpoints import CHECKPOINT
from sae.subjects.one_layer import OneLayerConfig
from sae.subjects.store import MANIFEST, WEIGHTS, load_folder, read_manifest, save_subject, storage_dtype
from sae.subjects.training import (
    LOG,
    Trainer,
    TrainingData,
    TrainingProgress,
    TrainingSettings,
    validation_loss,
)


def train_subject(
    corpus: Corpus,
    config: OneLayerConfig,
    settings: TrainingSettings,
    folder: Path,
    name: str,
    on_step: Callable[[TrainingProgress], None],
) -> dict[str, Any]:
    """Train, or go on training, the subject of a folder; its manifest. What is done already is not done again.

    Raises BadInput if the folder holds another run, or if training diverges.
    """
    asked = {"config": asdict(config), "corpus": _corpus_entry(corpus), "settings": asdict(settings)}
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        done = {
            "config": manifest["config"],
            "corpus": _recorded_corpus(manifest),
            "settings": manifest["training"]["settings"],
        }
        if done != json.loads(json.dumps(asked)):
            raise BadInput(f"{folder}: holds a finished subject made with other settings; name another --out")
        return manifest
    split = corpus.split("train")
    data = TrainingData(split.tokens, corpus.split("validation").tokens, split.fingerprint)
    trainer = Trainer(config, settings, data, folder)
    training = trainer.run(on_step) | {"settings": asked["settings"]}
    companions = {file: (corpus.path / file).read_bytes() for file in ("tokenizer.json", "vocab.json")}
    manifest = save_subject(
        folder,
        trainer.model,
        name=name,
        corpus=asked["corpus"],
        training=training,
        dtype="float32",
        companions=companions | {LOG: (folder / LOG).read_bytes()},
    )
    (folder / CHECKPOINT).unlink()
    return manifest


def export_subject(folder: Path, out: Path, dtype: str, corpus: Corpus) -> dict[str, Any]:
    """Copy a subject with its weights in another dtype; the copy's manifest.

    Its validation loss is measured again, on the rounded weights and the same blocks. Raises BadInput if `out` is
    taken or the corpus is not the one that the subject was trained on.
    """
    if out.exists():
        raise BadInput(f"{out}: exists already; name another --out")
    manifest = read_manifest(folder)
    if _recorded_corpus(manifest) != _corpus_entry(corpus):
        raise BadInput(f"{corpus.path}: not the corpus that {folder} was trained on; give that one")
    original = load_folder(folder)
    fingerprint = original.fingerprint
    model = original.model.to(storage_dtype(dtype)).to(torch.float32)
    training = manifest["training"]
    blocks = 8 * training["settings"]["validation_blocks"]
    loss, tokens = validation_loss(model, corpus.split("validation").tokens, blocks)
    return save_subject(
        out,
        model,
        name=manifest["name"],
        corpus=manifest["corpus"],
        training=training
        | {
            "validation_loss": loss,
            "validation_tokens": tokens,
            "validation_loss_before_export": training["validation_loss"],
        },
        dtype=dtype,
        companions={file: (folder / file).read_bytes() for file in manifest["files"] if file != WEIGHTS},
        exported_from=fingerprint,
    )


def _corpus_entry(corpus: Corpus) -> dict[str, Any]:
    return {
        "name": corpus.name,
        "fingerprint": corpus.split("train").fingerprint,
        "tokenizer_sha256": corpus.manifest["tokenizer"]["sha256"],
        "eot": corpus.eot,
    }


def _recorded_corpus(manifest: dict[str, Any]) -> dict[str, Any]:
    """The corpus entry of a manifest, which did not always say the end of a text, as it was always the same."""
    return {"eot": EOT, **manifest["corpus"]}
