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
    """Name, split, its size, and as fingerprint the first 16 hex digits of the sha256 of the split's tokens."""
    return {
        "name": corpus.manifest["name"],
        "split": split,
        "blocks": corpus.split(split).n_blocks,
        "block_tokens": corpus.block_tokens,
        "fingerprint": corpus.manifest["files"][f"{split}.tokens.npy"]["sha256"][:16],
    }
