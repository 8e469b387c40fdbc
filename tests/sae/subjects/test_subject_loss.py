"""The chunked cross-entropy against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sae.subjects.loss import UnembeddingLoss


def problem(n: int, d_model: int = 24, d_vocab: int = 61) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(n, d_model, generator=generator, requires_grad=True)
    W_U = torch.randn(d_model, d_vocab, generator=generator, requires_grad=True)
    return hidden, W_U, torch.randint(0, d_vocab, (n,), generator=generator)


def both(n: int, dtype: torch.dtype, chunk: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Loss and the two gradients of 3 * loss: ours, torch's."""
    results = []
    for ours in (True, False):
        hidden, W_U, targets = problem(n)
        measure = UnembeddingLoss(24, 61, dtype, chunk) if ours else lambda h, W, t: F.cross_entropy(h @ W, t)
        loss = measure(hidden, W_U, targets)
        (3 * loss).backward()
        assert hidden.grad is not None
        assert W_U.grad is not None
        results.append((loss.detach(), hidden.grad, W_U.grad))
    return results


@pytest.mark.parametrize(("n", "chunk"), [(32, 32), (32, 8), (37, 8), (5, 8), (1, 1)])
def test_loss_and_gradients_are_those_of_torch(n: int, chunk: int) -> None:
    ours, theirs = both(n, torch.float32, chunk)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-6)


def test_in_bfloat16_the_gradients_point_the_same_way() -> None:
    ours, theirs = both(256, torch.bfloat16, 64)
    assert float(ours[0]) == pytest.approx(float(theirs[0]), rel=0.01)
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        assert a.dtype == torch.float32
        assert float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0)) > 0.999
        assert float(a.norm() / b.norm()) == pytest.approx(1, abs=0.01)


def test_buffers_are_used_again_without_a_trace_of_the_last_batch() -> None:
    measure = UnembeddingLoss(24, 61, torch.float32, 8)
    hidden, W_U, targets = problem(32)
    first = measure(hidden, W_U, targets).item()
    measure(hidden * 7, W_U, targets.flip(0))
    assert measure(hidden, W_U, targets).item() == first
    short = F.cross_entropy(hidden[:3] @ W_U, targets[:3]).item()
    assert measure(hidden[:3], W_U, targets[:3]).item() == pytest.approx(short, rel=1e-5)
