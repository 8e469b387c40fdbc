"""The randomised control of "Towards Monosemanticity": a model whose weight matrices have their entries shuffled."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import nn

from sae.subjects.base import Subject, is_weight_matrix
from sae.subjects.seeds import generator


class ModelSubject(Subject, Protocol):
    """A subject that stands on a module of torch and can be made again around another one."""

    model: nn.Module

    def with_model(self, model: nn.Module, name: str) -> Self: ...
