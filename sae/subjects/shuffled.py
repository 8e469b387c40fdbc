"""The randomised control of "Towards Monosemanticity": a subject whose weight matrices have their entries shuffled."""

from __future__ import annotations

import copy
from typing import Protocol, TypeVar

import torch
from torch import nn

from sae.seeds import generator
from sae.subjects.base import is_weight_matrix

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", covariant=True)


class OnModel(Protocol[M, S]):
    """A subject that stands on a torch module and can be made again around another."""

    name: str
    model: M

    def with_model(self, model: M, name: str) -> S:
        """The same subject on another module, under another name."""
        ...


def shuffle_weights(subject: OnModel[M, S], seed: int) -> S:
    """A copy with the entries of each weight matrix permuted, embeddings and unembedding included.

    Biases and the gains of norms stay as they are. The permutation of a matrix depends on the seed and the matrix's
    name alone, and is the same on every machine. The name gets the suffix "-shuffled".
    """
    model = copy.deepcopy(subject.model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # matrices that are tied come once, and stay tied
            if is_weight_matrix(name, parameter):
                order = generator(seed, f"shuffled weights of {name}").permutation(parameter.numel())
                parameter.copy_(parameter.flatten()[torch.from_numpy(order)].view_as(parameter))
    return subject.with_model(model, f"{subject.name}-shuffled")
