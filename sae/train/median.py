"""The point with the least sum of distances to the data, where the tied bias starts (TM)."""

from __future__ import annotations

import torch
from torch import Tensor


def geometric_median(points: Tensor, *, tolerance: float = 1e-6, max_iterations: int = 1000) -> Tensor:
    """The geometric median of points [n, d], as float64 [d].

    Weiszfeld's iteration with the correction of Vardi and Zhang (PNAS 2000) for an estimate that falls onto a data
    point, where plain Weiszfeld divides by zero or stays although the point is not the median. Stops when a step is
    shorter than `tolerance` times the mean distance to the data, or after `max_iterations`.

    Raises ValueError when there are no points.
    """
    if points.shape[0] == 0:
        raise ValueError("the geometric median of no points is not defined")
    data = points.to(torch.float64)
    estimate = data.mean(dim=0)
    for _ in range(max_iterations):
        distances = torch.linalg.vector_norm(data - estimate, dim=1)
        following = _vardi_zhang_step(data, estimate, distances)
        moved = torch.linalg.vector_norm(following - estimate)
        estimate = following
        if moved <= tolerance * distances.mean():
            break
    return estimate


def _vardi_zhang_step(data: Tensor, estimate: Tensor, distances: Tensor) -> Tensor:
    apart = distances > 0
    if not apart.any():
        return estimate
    weights = torch.where(apart, 1.0 / distances.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    weiszfeld = weights @ data / weights.sum()
    here = float((~apart).sum())  # data points the estimate lies on
    if here == 0:
        return weiszfeld
    # The pull of all other points against the `here` points: where it is weaker, the estimate is the median.
    pull = float(torch.linalg.vector_norm(weights.sum() * (weiszfeld - estimate)))
    if pull <= here:
        return estimate
    return (1 - here / pull) * weiszfeld + here / pull * estimate
