"""Cross-entropy of the unembedding, computed by chunks of positions.

With a small residual width the logits are the cost of a step: [8192, 4096] in float32 are 128 MB, several times over
in a plain backward pass. Here each chunk's logits, loss and gradients are made while the chunk is in the cache, in
buffers that are used again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class UnembeddingLoss:
    """Mean cross-entropy (nats) of logits = hidden @ W_U, with gradients for both.

    `dtype` is that of the matrix products and of the stored probabilities; W_U's gradient is summed over chunks in
    float32. In bfloat16 the loss itself is good to about 0.2% of a single position's probability: fit for training
    and its log; `validation_loss` is exact.
    """

    def __init__(self, d_model: int, d_vocab: int, dtype: torch.dtype, chunk: int = 1024) -> None:
        self.dtype, self.chunk = dtype, chunk
        self.logits = torch.empty(chunk, d_vocab, dtype=dtype)
        self.probabilities = torch.empty(chunk, d_vocab, dtype=dtype)
        self.grad_part = torch.empty(d_model, d_vocab, dtype=dtype)

    def __call__(self, hidden: Tensor, W_U: Tensor, targets: Tensor) -> Tensor:
        """hidden [n, d_model], W_U [d_model, d_vocab], targets int64 [n] -> scalar, differentiable."""
        loss: Tensor = _ChunkedCrossEntropy.apply(hidden, W_U, targets, self)  # type: ignore[no-untyped-call]
        return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, W_U: Tensor, targets: Tensor, work: UnembeddingLoss) -> Tensor:
        x, W = hidden.to(work.dtype), W_U.to(work.dtype)
        grad_x, grad_W = torch.empty_like(x), torch.zeros_like(W_U)
        total = torch.zeros((), dtype=torch.float64)
        for start in range(0, len(x), work.chunk):
            part, target = x[start : start + work.chunk], targets[start : start + work.chunk]
            logits, p = work.logits[: len(part)], work.probabilities[: len(part)]
            torch.mm(part, W, out=logits)
            torch.softmax(logits, -1, out=p)
            rows = torch.arange(len(part))
            at_target = p[rows, target]
            total -= at_target.double().clamp_min(1e-30).log().sum()
            p[rows, target] = at_target - 1  # p is now the gradient of the logits; scatter_ would copy all of it
            torch.mm(p, W.T, out=grad_x[start : start + work.chunk])
            grad_W += torch.mm(part.T, p, out=work.grad_part)
        ctx.save_for_backward(grad_x, grad_W)
        return (total / len(x)).to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_x, grad_W = ctx.saved_tensors
        # The mean's 1/n comes last and in float32: gradients of single positions would lose bits to it in bfloat16.
        scale = grads[0] / len(grad_x)
        return grad_x.to(grads[0].dtype) * scale, grad_W * scale, None, None
