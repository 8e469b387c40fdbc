"""What every sparse autoencoder of this project is, whatever its architecture."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from sae.dictionaries.saelens import SaeLensConfig


class Dictionary(ABC):
    """A sparse autoencoder over one hook of a subject. An interface: architectures are its final classes.

    Shapes are those of SAELens: `W_enc` [d_in, d_sae], `b_enc` [d_sae], `W_dec` [d_sae, d_in] (a row is the
    vector of one latent), `b_dec` [d_in].

    Every architecture here has the form ``encode(x) = activation(x @ W + b)`` with one affine map in front,
    so a harvest can fold whatever stands before the encoder into (W, b) once and reuse a buffer for the rest.
    """

    architecture: ClassVar[str]
    """Name in this project's registry, for instance "relu_l1"."""
    saelens_architecture: ClassVar[str]
    """Name of the same thing in a SAELens cfg.json, for instance "standard"."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    hook_name: str

    @property
    def d_in(self) -> int:
        """Width of the hook."""
        return self.W_dec.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.W_dec.shape[0]

    @abstractmethod
    def encoder_affine(self) -> tuple[Tensor, Tensor]:
        """(W [d_in, d_sae], b [d_sae]) such that ``encode(x) = activation(x @ W + b)``."""

    @abstractmethod
    def activation(self, preactivations: Tensor) -> Tensor:
        """Latents [..., d_sae], all >= 0, from the affine map's output of the same shape."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The weights by the names they have in a SAELens file."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What a SAELens cfg.json must say beyond sizes and hook, for instance `apply_b_dec_to_input`."""

    @classmethod
    @abstractmethod
    def from_saelens(cls, config: SaeLensConfig, tensors: Mapping[str, Tensor]) -> Self:
        """Build from a parsed cfg.json and float32 tensors whose names and shapes have been checked."""

    @classmethod
    @abstractmethod
    def tensor_shapes(cls, d_in: int, d_sae: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes a weights file of this architecture must hold, no more and no less."""

    def encode(self, x: Tensor) -> Tensor:
        """Latents [..., d_sae] (>= 0) of activations x [..., d_in]."""
        weight, bias = self.encoder_affine()
        return self.activation(x @ weight + bias)

    def decode(self, latents: Tensor) -> Tensor:
        """Reconstruction [..., d_in] of latents [..., d_sae]: ``latents @ W_dec + b_dec``."""
        return latents @ self.W_dec + self.b_dec

    def fingerprint(self) -> str:
        """First 16 hex digits of a sha256 over names, shapes and float32 values of the weights.

        A copy stored in half precision has other values, hence another fingerprint than its original, and
        keeps that one however often it is loaded and saved.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors().items()):
            values = tensor.detach().to("cpu", torch.float32).contiguous()
            digest.update(f"{name}{list(values.shape)}".encode())
            digest.update(values.numpy().tobytes())
        return digest.hexdigest()[:16]
