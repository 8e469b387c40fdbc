"""What a result says about the subject and the text it was made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae.corpus import Corpus
    from sae.subjects import Subject


def subject_identity(subject: Subject) -> dict[str, Any]:
    """Name and fingerprint of the weights."""
    return {"name": subject.name, "fingerprint": subject.fingerprint}


def corpus_identity(corpus: Corpus, split: str) -> dict[str, Any]:
    """Name, split, its size, and the fingerprint of the split's tokens."""
    part = corpus.split(split)
    return {
        "name": corpus.name,
        "split": split,
        "blocks": part.n_blocks,
        "block_tokens": corpus.block_tokens,
        "fingerprint": part.fingerprint,
    }
