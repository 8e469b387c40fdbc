"""The geometric median against a brute-force minimiser and cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import minimize

from sae.train import geometric_median


def total_distance(point: np.ndarray, data: np.ndarray) -> float:
    return float(np.linalg.norm(data - point, axis=1).sum())


@pytest.mark.parametrize(("n", "d"), [(3, 2), (10, 3), (50, 8), (200, 2)])
def test_it_is_the_minimiser_found_by_brute_force(n: int, d: int) -> None:
    data = np.random.default_rng(n).exponential(size=(n, d))  # skewed, so that mean and median are apart
    found = geometric_median(torch.from_numpy(data)).numpy()
    best = minimize(
        total_distance, data.mean(axis=0), args=(data,), method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 50_000, "maxfev": 50_000},
    )  # fmt: skip
    assert total_distance(found, data) <= best.fun * (1 + 1e-8)
    if d <= 3:  # in more dimensions the simplex itself stops early
        np.testing.assert_allclose(found, best.x, atol=1e-3)
    assert np.linalg.norm(found - data.mean(axis=0)) > 1e-3


def test_of_a_triangle_it_is_the_fermat_point() -> None:
    # Equilateral: the centre, where each side is seen under 120 degrees.
    data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])
    torch.testing.assert_close(geometric_median(data), torch.tensor([0.5, 3**0.5 / 6], dtype=torch.float64))


def test_a_point_that_holds_the_majority_is_the_median() -> None:
    # Plain Weiszfeld divides by zero here; the sum of distances is least on the point that three of five share.
    data = torch.tensor([[1.0, 1.0]] * 3 + [[5.0, 0.0], [0.0, 9.0]])
    torch.testing.assert_close(geometric_median(data), torch.tensor([1.0, 1.0], dtype=torch.float64), atol=1e-5, rtol=0)


def test_it_leaves_a_data_point_that_is_not_the_median() -> None:
    # The mean, where the iteration starts, is exactly the data point (0, 0); the median is not.
    data = np.array([[0.0, 0.0], [4.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert data.mean(axis=0).tolist() == [0.0, 0.0]
    found = geometric_median(torch.from_numpy(data))
    torch.testing.assert_close(found, torch.tensor([-1.0, 0.0], dtype=torch.float64), atol=1e-4, rtol=0)


def test_of_equal_points_it_is_that_point() -> None:
    assert geometric_median(torch.full((4, 2), 3.0)).tolist() == [3.0, 3.0]


def test_of_nothing_it_is_not_defined() -> None:
    with pytest.raises(ValueError, match="no points"):
        geometric_median(torch.empty(0, 3))


@settings(max_examples=25, deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(-50, 50, width=16)),
    st.integers(0, 2**31),
)
def test_no_nearby_point_is_better(data: np.ndarray, seed: int) -> None:
    found = geometric_median(torch.from_numpy(data)).numpy()
    least = total_distance(found, data)
    spread = 1e-2 * (np.ptp(data) + 1e-9)
    for offset in np.random.default_rng(seed).normal(scale=spread, size=(20, data.shape[1])):
        assert least <= total_distance(found + offset, data) * (1 + 1e-4) + 1e-9
