"""Tokenizers made here: two of the same size that mean different text, and one file written as older versions did."""

from __future__ import annotations

import json
import random

from tokenizers import Tokenizer

from sae.corpus.tokenizer import train_tokenizer

__all__ = ["as_written_before", "some_text", "some_tokenizer"]

SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "si", "to", "wy", "zu")


def some_text(seed: int, words: int = 400) -> str:
    """Words of made-up syllables; another seed has other words."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(30)]
    return " ".join(rng.choices(vocabulary, k=words))


def some_tokenizer(seed: int, entries: int = 300) -> Tokenizer:
    """A byte-level BPE of so many entries, trained on `some_text` of the seed."""
    return train_tokenizer([some_text(seed, 5000)], entries)


def as_written_before(tokenizer: Tokenizer) -> str:
    """The file of a BPE as versions of the library before 0.20 wrote it: merges as strings; and in another order."""
    state = json.loads(tokenizer.to_str())
    model = state.pop("model")
    entries = dict(sorted(model["vocab"].items()))
    merges = [" ".join(pair) for pair in model["merges"]]
    return json.dumps({"model": {"merges": merges, "vocab": entries, "dropout": None}} | state, indent=2)
