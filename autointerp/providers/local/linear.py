"""Matrix products as this machine does them best, without a change to any result that is kept.

On processors that multiply bfloat16, each weight is laid out once as the kernels want it, and not at every product: a
quarter less time from one row to several hundred. The projection on the vocabulary is made in bfloat16, and the
likeliest tokens are computed again in float32: bfloat16 logits near 20 lie 0.125 apart, which makes ties of choices,
and float32 for the whole vocabulary takes four times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ExactHead", "pack_linears"]

_EXACT = 128  # tokens computed again
_ROWS = 256  # the number of rows that weights are laid out for


def pack_linears(network: nn.Module) -> None:
    """Lays out the weights of all bfloat16 linear layers in place, where the processor and this build of torch can."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear and child.weight.dtype == torch.bfloat16 and child.weight.device.type == "cpu":
                setattr(parent, name, _Packed(child))


class _Packed(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight: Any = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return product


class ExactHead(nn.Module):
    """Logits [..., vocabulary] float32 of hidden states [..., width]: the 128 highest exact, the rest as rounded.

    coarse: the projection as it was (packed or not); weight [vocabulary, width] and bias [vocabulary] or None: its own.
    """

    def __init__(self, coarse: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.coarse = coarse
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.coarse(hidden)
        if logits.dtype == torch.float32:
            return logits
        likeliest = logits.topk(min(_EXACT, logits.shape[-1]), dim=-1).indices
        exact = (self.weight[likeliest].float() @ hidden.float().unsqueeze(-1)).squeeze(-1)
        if self.bias is not None:
            exact = exact + self.bias[likeliest].float()
        return logits.float().scatter(-1, likeliest, exact)
