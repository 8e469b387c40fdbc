"""Subjects of a few lines, small corpora, and a harvest the slow and plain way."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from sae.corpus import Corpus
from sae.corpus.manifest import write_manifest
from sae.corpus.pack import SplitWriter
from sae.dictionaries import ReluL1

HOOK = "blocks.0.mlp.hook_post"


@dataclass(frozen=True)
class FakeSubject:
    """The hook is ReLU(E[token] + mix * E[previous token] + drift * position); its direct path to the logits is W_U."""

    embedding: Tensor  # [vocab, width]
    unembedding: Tensor | None  # [width, vocab]
    mix: float = 0.0
    drift: float = 0.0
    name: str = "fake"
    fingerprint: str = "0123456789abcdef"
    context: int = 4096
    hooks: tuple[str, ...] = (HOOK,)

    @classmethod
    def random(cls, seed: int, *, vocab: int, width: int, mix: float = 0.5, drift: float = 0.001) -> FakeSubject:
        rng = torch.Generator().manual_seed(seed)
        return cls(
            torch.randn(vocab, width, generator=rng),
            torch.randn(width, vocab, generator=rng),
            mix=mix,
            drift=drift,
        )

    @property
    def vocab_size(self) -> int:
        return self.embedding.shape[0]

    def width(self, hook: str) -> int:
        assert hook == HOOK
        return self.embedding.shape[1]

    def activations(self, tokens: Tensor, hook: str) -> Tensor:
        embedded = self.embedding[tokens]
        before = torch.cat([torch.zeros_like(embedded[:, :1]), embedded[:, :-1]], dim=1)
        position = torch.arange(tokens.shape[1], dtype=embedded.dtype)[None, :, None]
        return torch.relu(embedded + self.mix * before + self.drift * position)

    def logits(self, tokens: Tensor, *, hook: str | None = None, replacement: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def logit_directions(self, hook: str) -> Tensor | None:
        return self.unembedding

    def to(self, dtype: torch.dtype) -> FakeSubject:
        unembedding = None if self.unembedding is None else self.unembedding.to(dtype)
        return replace(self, embedding=self.embedding.to(dtype), unembedding=unembedding)


def random_dictionary(seed: int, *, d_in: int, d_sae: int, bias: float) -> ReluL1:
    rng = torch.Generator().manual_seed(seed)
    decoder = torch.randn(d_sae, d_in, generator=rng)
    decoder /= decoder.norm(dim=1, keepdim=True)
    return ReluL1(
        W_enc=decoder.T.contiguous(),
        b_enc=torch.full((d_sae,), bias),
        W_dec=decoder,
        b_dec=0.1 * torch.randn(d_in, generator=rng),
        hook_name=HOOK,
    )


def write_corpus(
    folder: Path, tokens: NDArray[np.integer], *, vocab: int, documents: int = 5, tokenizer: Tokenizer | None = None
) -> Corpus:
    """A corpus folder whose held-out split is `tokens` [n_blocks, block_tokens] and whose documents are equal parts.

    Without a tokenizer nobody can say what its ids mean.
    """
    folder.mkdir(parents=True)
    splits = {}
    for split in ("train", "validation", "heldout"):
        writer = SplitWriter(folder, split, tokens.shape[1], eot=0, vocab_size=vocab)
        stream = tokens.reshape(-1) if split == "heldout" else tokens[:0].reshape(-1)
        for number, part in enumerate(np.array_split(stream, documents)):
            if len(part):  # the writer adds the end-of-text token that closes each
                text = {
                    "document": f"d{number}",
                    "domain": f"domain {number % 2}",
                    "source": "fake",
                    "name": str(number),
                }
                writer.add(part[:-1].astype(writer.dtype), **text)
        splits[split] = writer.close()
    (folder / "vocab.json").write_text(json.dumps([f"t{number}" for number in range(vocab)]))
    (folder / "tokenizer.json").write_text(tokenizer.to_str() if tokenizer else "{}")
    write_manifest(
        folder,
        {
            "name": "fake corpus",
            "sources": [],
            "block_tokens": tokens.shape[1],
            "tokenizer": {"file": "tokenizer.json", "sha256": "00" * 32, "vocab_size": vocab, "eot": 0},
            "splits": splits,
        },
    )
    return Corpus.open(folder)


def dense_activations(
    subject: FakeSubject, dictionary: ReluL1 | None, blocks: NDArray[np.integer]
) -> dict[str, NDArray[np.float32]]:
    """All activations of all units, {kind: float32 [n_tokens, n_units]}: one float64 block at a time."""
    exact = subject.to(torch.float64)
    neurons = [exact.activations(torch.from_numpy(block[None].astype(np.int64)), HOOK)[0] for block in blocks]
    found = {"neuron": torch.cat(neurons).to(torch.float32).numpy()}
    if dictionary is not None:
        W, b, c = (getattr(dictionary, name).double() for name in ("W_enc", "b_enc", "b_dec"))
        latents = [torch.relu((x - c) @ W + b) for x in neurons]
        found["feature"] = torch.cat(latents).to(torch.float32).numpy()
    return found


def zipf_blocks(seed: int, n_blocks: int, block_tokens: int, vocab: int) -> NDArray[np.int64]:
    """Token ids as frequent as words are."""
    weights = 1 / np.arange(1, vocab + 1)
    return np.random.default_rng(seed).choice(vocab, (n_blocks, block_tokens), p=weights / weights.sum())


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
