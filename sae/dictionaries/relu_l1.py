"""The autoencoder of "Towards Monosemanticity" (Bricken et al. 2023), called "standard" by SAELens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor

from sae.dictionaries.base import Dictionary
from sae.dictionaries.saelens import SaeLensConfig


@final
@dataclass(frozen=True, eq=False)
class ReluL1(Dictionary):
    """f = ReLU((x - b_dec) @ W_enc + b_enc), x^ = f @ W_dec + b_dec (TM, "Sparse Autoencoders": setup).

    `apply_b_dec_to_input` False leaves the pre-encoder bias out, as some published dictionaries do.
    """

    architecture: ClassVar[str] = "relu_l1"
    saelens_architecture: ClassVar[str] = "standard"

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    hook_name: str
    apply_b_dec_to_input: bool = True

    def encoder_affine(self) -> tuple[Tensor, Tensor]:
        if not self.apply_b_dec_to_input:
            return self.W_enc, self.b_enc
        return self.W_enc, self.b_enc - self.b_dec @ self.W_enc

    def activation(self, preactivations: Tensor) -> Tensor:
        return torch.relu(preactivations)

    def tensors(self) -> dict[str, Tensor]:
        return {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}

    def settings(self) -> dict[str, Any]:
        return {"apply_b_dec_to_input": self.apply_b_dec_to_input}

    @classmethod
    def tensor_shapes(cls, d_in: int, d_sae: int) -> dict[str, tuple[int, ...]]:
        return {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}

    @classmethod
    def from_saelens(cls, config: SaeLensConfig, tensors: Mapping[str, Tensor]) -> Self:
        return cls(
            W_enc=tensors["W_enc"],
            b_enc=tensors["b_enc"],
            W_dec=tensors["W_dec"],
            b_dec=tensors["b_dec"],
            hook_name=config.hook_name,
            apply_b_dec_to_input=config.apply_b_dec_to_input,
        )
