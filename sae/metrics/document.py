"""metrics.json: the numbers with where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.dictionaries import Dictionary
from sae.files import render_json, write_atomically
from sae.metrics.results import Metrics
from sae.train.identity import corpus_identity, subject_identity

if TYPE_CHECKING:
    from sae.corpus import Corpus
    from sae.subjects import Subject

METRICS_FILE = "metrics.json"


def metrics_document(
    metrics: Metrics,
    dictionary: Dictionary,
    *,
    name: str,
    subject: Subject,
    corpus: Corpus,
    split: str,
    seed: int,
) -> dict[str, Any]:
    """The metrics with fingerprints of dictionary, subject and corpus, and the definitions in words."""
    return {
        "format": "sae-metrics",
        "version": 1,
        "dictionary": {"name": name, "fingerprint": dictionary.fingerprint(), "d_sae": dictionary.d_sae},
        "hook": dictionary.hook_name,
        "subject": subject_identity(subject),
        "corpus": corpus_identity(corpus, split),
        "seed": seed,
        "definitions": {
            "mse": "mean over tokens and dimensions of (x - x^)^2",
            "explained_variance": "1 - sum (x - x^)^2 / sum (x - mean per dimension)^2",
            "loss_recovered": "(H* - H0) / (H_orig - H0), H0 with zeros at the hook; 95% bootstrap over blocks",
            "dead": f"silent on {metrics.sparsity.tokens} tokens; a density below one in that many cannot be seen",
        },
        **metrics.as_dict(),
    }


def write_metrics(folder: Path, document: dict[str, Any]) -> None:
    """Write metrics.json into `folder`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / METRICS_FILE, render_json(document))
