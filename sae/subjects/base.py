"""What a subject is: the small interface of hooks behind which every model under study stands."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from sae.errors import BadInput


class Subject(Protocol):
    """A causal language model with named hooks. Its tensors are made without gradients.

    name: for people and unit ids. fingerprint: `fingerprint_of` its weights. context: the most tokens it reads at
    once. vocab_size: token ids are below it. hooks: the places whose activations can be read and replaced.
    exported_from: fingerprint of the subject whose weights were rounded to these, or None. tokenizer_fingerprint:
    `sae.corpus.tokenizer.tokenizer_fingerprint` of the tokenizer whose ids it reads; reading it raises BadInput where
    no tokenizer comes with the subject.
    """

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def exported_from(self) -> str | None: ...
    @property
    def tokenizer_fingerprint(self) -> str: ...
    @property
    def context(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def hooks(self) -> tuple[str, ...]: ...

    def width(self, hook: str) -> int:
        """How many numbers the hook has at each position. Raises BadInput for a hook that is not there."""
        ...

    def activations(self, tokens: Tensor, hook: str) -> Tensor:
        """tokens int64 [batch, pos] -> activations [batch, pos, width]; the forward pass stops at the hook."""
        ...

    def logits(self, tokens: Tensor, *, hook: str | None = None, replacement: Tensor | None = None) -> Tensor:
        """tokens int64 [batch, pos] -> logits [batch, pos, vocab_size].

        `replacement` [batch, pos, width] is put in the place of the hook's activations.
        """
        ...

    def logit_directions(self, hook: str) -> Tensor | None:
        """[width, vocab_size]: what a unit vector at the hook adds to the logits, the final norm's scale ignored.

        For an MLP's activations W_out, centred, times the final norm's gain, times W_U: the "logit weights" of
        Towards Monosemanticity. None where later layers lie between the hook and the logits.
        """
        ...

    def to(self, dtype: torch.dtype) -> Self:
        """A copy that computes in this dtype."""
        ...


def check_tokens(subject: Subject, tokens: Tensor) -> None:
    """Raise BadInput unless tokens are ids of the subject's vocabulary, [batch, pos] with pos in 1..context."""
    if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= subject.context:
        raise BadInput(
            f"{subject.name}: tokens of shape {list(tokens.shape)}; it reads [batch, 1 to {subject.context} positions]"
        )
    if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < subject.vocab_size:
        raise BadInput(
            f"{subject.name}: token ids from {int(tokens.min())} to {int(tokens.max())}, but its vocabulary is 0 to "
            f"{subject.vocab_size - 1}; use the tokenizer it was trained with"
        )


def known_fingerprint(name: str, read: Callable[[], str] | None) -> str:
    """What `read` says of a subject's tokenizer. Raises BadInput where the subject was made without it."""
    if read is None:
        raise BadInput(f"{name}: made without `read_tokenizer`, so that nobody can say which corpora are for it")
    return read()


def check_replacement(subject: Subject, tokens: Tensor, hook: str | None, replacement: Tensor | None) -> None:
    """Raise BadInput unless hook and replacement come together and the replacement fits the hook."""
    if hook is None and replacement is None:
        return
    if hook is None or replacement is None:
        raise BadInput(f"{subject.name}: a hook and its replacement must be given together")
    expected = [*tokens.shape, subject.width(hook)]
    if list(replacement.shape) != expected:
        raise BadInput(
            f"{subject.name}: a replacement of shape {list(replacement.shape)} for {hook}, which has {expected}"
        )


def fingerprint_of(model: nn.Module) -> str:
    """The first 16 hex digits of the sha256 of a model's weights: names, shapes and values as float32.

    So a copy in a wider dtype has the same fingerprint, and one that was rounded has another.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().to(torch.float32).contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def is_weight_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a weight matrix: everything but biases and the gains of norms.

    By its name in TransformerLens models, where biases of heads have two dimensions; by its dimensions elsewhere.
    """
    last = name.rpartition(".")[2]
    return last.startswith("W_") or (parameter.ndim >= 2 and not last.startswith("b_"))
