"""A subject of a few lines with an embedding, one hook, and logits that depend on it: small enough for loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

HOOK = "blocks.0.mlp.hook_post"


@dataclass
class TinySubject:
    """At each position the hook is ReLU(E[token] + E[previous token]) and the logits are skip[token] + hook @ W_U."""

    embedding: Tensor  # [vocab, width]
    skip: Tensor  # [vocab, vocab]
    unembedding: Tensor  # [width, vocab]
    name: str = "tiny"
    fingerprint: str = "0123456789abcdef"
    exported_from: str | None = None
    context: int = 64
    hooks: tuple[str, ...] = (HOOK,)

    @classmethod
    def random(cls, seed: int, *, vocab: int = 11, width: int = 6) -> TinySubject:
        rng = torch.Generator().manual_seed(seed)
        return cls(
            torch.randn(vocab, width, generator=rng),
            torch.randn(vocab, vocab, generator=rng),
            torch.randn(width, vocab, generator=rng),
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
        return torch.relu(embedded + before)

    def logits(self, tokens: Tensor, *, hook: str | None = None, replacement: Tensor | None = None) -> Tensor:
        activations = self.activations(tokens, HOOK) if replacement is None else replacement
        return self.skip[tokens] + activations @ self.unembedding


def likely_tokens(subject: TinySubject, seed: int, blocks: int = 40, length: int = 12) -> np.ndarray:
    """Text of which the subject is a good model: sampled from it."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, subject.vocab_size, (blocks, length))
    for position in range(1, length):
        logits = subject.logits(torch.from_numpy(tokens[:, :position]))[:, -1].double()
        cumulative = torch.softmax(logits, dim=-1).cumsum(dim=-1).numpy()
        tokens[:, position] = (rng.random((blocks, 1)) > cumulative).sum(axis=1).clip(0, subject.vocab_size - 1)
    return tokens.astype(np.uint16)
