"""Activations of a subject's units on blocks of tokens: its neurons at a hook, and the latents of a dictionary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae.dictionaries import Dictionary, ReluL1
from sae.errors import BadInput, SaeError
from sae.harvest.settings import Precision
from sae.harvest.tally import Dense
from sae.subjects.base import Subject

_TILE_ELEMENTS = 1 << 24
"""Latents computed at a time: 128 MB in float64, which 4,096 latents fill with 4,096 tokens."""


class LatentSource:
    """Latents of one dictionary in one precision, the map before its activation function folded into (W, b).

    A ReLU is left out of what `dense` returns, and the bias with it: whoever picks out the positive entries finds the
    same ones, and two passes over the largest array of the harvest are saved. Other activation functions are applied.
    """

    def __init__(self, dictionary: Dictionary, precision: Precision) -> None:
        exact = _in_dtype(dictionary, getattr(torch, precision))
        self._dictionary = exact
        self._weight, self._bias = (tensor.detach().contiguous() for tensor in exact.encoder_affine())
        self._rows = self._weight.T.contiguous()
        self._is_relu = isinstance(dictionary, ReluL1)
        self._buffers: dict[int, Tensor] = {}
        self.width = dictionary.d_sae

    def tokens_at_once(self) -> int:
        """How many tokens `dense` should be given at a time, to stay within some 128 MB."""
        return _TILE_ELEMENTS // self.width

    @torch.no_grad()
    def dense(self, x: Tensor, slot: int) -> Dense:
        """Latents of x [n, d_in]. Good until the next call for this slot."""
        buffer = self._buffers.get(slot)
        if buffer is None or len(buffer) < len(x):
            buffer = self._buffers[slot] = torch.empty(len(x), self.width, dtype=self._weight.dtype)
        out = buffer[: len(x)]
        if self._is_relu:
            return Dense(torch.mm(x, self._weight, out=out).numpy(), self._bias.numpy())
        return Dense(self._dictionary.activation(torch.addmm(self._bias, x, self._weight, out=out)).numpy())

    @torch.no_grad()
    def every(self, x: Tensor) -> NDArray[np.floating]:
        """x [n, d_in] -> latents [n, d_sae]."""
        latents: NDArray[np.floating] = self._dictionary.activation(torch.addmm(self._bias, x, self._weight)).numpy()
        return latents

    @torch.no_grad()
    def some(self, x: Tensor, units: NDArray[np.int64]) -> NDArray[np.floating]:
        """x [n, d_in] -> latents [n, len(units)] of these units alone."""
        if not self._is_relu:  # an activation function that compares latents with each other needs them all
            return self.every(x)[:, units]
        index = torch.from_numpy(units)
        latents: NDArray[np.floating] = torch.relu(torch.addmm(self._bias[index], x, self._rows[index].T)).numpy()
        return latents


class NeuronSource:
    """A subject's activations at one hook, in one precision."""

    def __init__(self, subject: Subject, hook: str, precision: Precision) -> None:
        self.width = subject.width(hook)
        self._subject, self._hook = subject.to(getattr(torch, precision)), hook

    def __call__(self, tokens: NDArray[np.unsignedinteger]) -> Tensor:
        """tokens [blocks, block_tokens] -> activations [blocks * block_tokens, width].

        Raises SaeError if any is not finite: comparisons would pass over it in silence.
        """
        x = self._subject.activations(torch.from_numpy(tokens.astype(np.int64)), self._hook)
        if not bool(torch.isfinite(x.sum())):
            raise SaeError(f"{self._subject.name}: activations at {self._hook} are not finite; check its weights")
        return x.reshape(-1, self.width).contiguous()


def _in_dtype(dictionary: Dictionary, dtype: torch.dtype) -> Dictionary:
    # Before the affine map is folded: a fold in float32 would bring its rounding, which differs by processor.
    tensors = {name: tensor.detach().to(dtype) for name, tensor in dictionary.tensors().items()}
    return replace(dictionary, **tensors)  # type: ignore[type-var]  # architectures are dataclasses of their tensors


def check_fit(subject: Subject, hook: str, dictionary: Dictionary | None) -> None:
    """Raise BadInput unless the dictionary is one over this hook of a subject of this width."""
    width = subject.width(hook)
    if dictionary is None:
        return
    if dictionary.hook_name != hook:
        raise BadInput(f"the dictionary is over hook {dictionary.hook_name!r}, the harvest over {hook!r}")
    if dictionary.d_in != width:
        raise BadInput(
            f"the dictionary reads {dictionary.d_in} activations, {subject.name} has {width} at {hook}; "
            "give the subject that the dictionary was trained on"
        )
