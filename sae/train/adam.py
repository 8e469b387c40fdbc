"""Adam (Kingma and Ba 2015) on float32 tensors, in one fused pass, with moments that can be reset row by row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Adam:
    """Adam for named tensors, without weight decay; the same arithmetic as ``torch.optim.Adam(fused=True)``.

    Its own few lines because the moments belong in checkpoints and in resampling, where the optimiser of torch hides
    them, and because making that one imports torch's compiler: four seconds for nothing.
    """

    def __init__(self, parameters: Mapping[str, Tensor], *, beta1: float, beta2: float, epsilon: float) -> None:
        self._parameters = dict(parameters)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self.first_moment = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
        self.second_moment = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
        self._steps = [torch.zeros((), device=tensor.device) for tensor in parameters.values()]

    def step(self, gradients: Mapping[str, Tensor], learning_rate: float) -> None:
        """Move every parameter, in place, by its gradient of the same name, shape and dtype."""
        torch._foreach_add_(self._steps, 1)
        torch._fused_adam_(
            list(self._parameters.values()),
            [gradients[name] for name in self._parameters],
            list(self.first_moment.values()),
            list(self.second_moment.values()),
            [],
            self._steps,
            lr=learning_rate,
            beta1=self._beta1,
            beta2=self._beta2,
            weight_decay=0.0,
            eps=self._epsilon,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Moments and step count on the CPU, for a checkpoint."""
        state = {"adam.steps": self._steps[0].to("cpu")}
        for name in self._parameters:
            state[f"{name}.first_moment"] = self.first_moment[name].to("cpu")
            state[f"{name}.second_moment"] = self.second_moment[name].to("cpu")
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a `state` of the same parameters. A KeyError means that it is of something else."""
        for steps in self._steps:
            steps.copy_(state["adam.steps"])
        for name in self._parameters:
            self.first_moment[name].copy_(state[f"{name}.first_moment"])
            self.second_moment[name].copy_(state[f"{name}.second_moment"])
