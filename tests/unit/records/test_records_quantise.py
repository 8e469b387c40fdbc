"""Levels against tables worked out by hand, and against the published formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autointerp.records import quantise
from autointerp.types import Scale


@pytest.mark.parametrize(
    ("activation", "lmen", "tm"),
    [
        # maximum 4.0, so a tenth of it is 0.4
        (-7.0, 0, 0),
        (-0.0, 0, 0),
        (0.0, 0, 0),
        (0.39, 0, 0),
        (0.4, 1, 1),
        (0.79, 1, 1),
        (1.6, 4, 4),
        (2.0, 5, 5),
        (3.59, 8, 8),
        (3.6, 9, 9),
        (3.999, 9, 9),
        (4.0, 10, 9),  # only the maximum itself is a 10
        (9.0, 10, 9),  # a record of another split can exceed the explain split's maximum
    ],
)
def test_levels_by_hand(activation: float, lmen: int, tm: int) -> None:
    assert quantise(activation, 4.0, Scale.LEVELS_10) == lmen
    assert quantise(activation, 4.0, Scale.LEVELS_9) == tm


def test_levels_keep_the_shape_and_are_whole_numbers() -> None:
    levels = quantise([[0.0, 1.0], [0.55, -3.0]], 1.0, Scale.LEVELS_10)
    assert levels.dtype == np.int64
    assert levels.tolist() == [[0, 10], [5, 0]]


def test_floor_and_not_ceil_nor_round() -> None:
    # Delphi's ceil turns every faint activation into a 1.
    assert quantise(0.01, 1.0, Scale.LEVELS_10) == 0
    assert quantise(0.99, 1.0, Scale.LEVELS_10) == 9


def test_the_same_numbers_as_the_published_code() -> None:
    rng = np.random.default_rng(0)
    values, maximum = rng.normal(size=1000) * 3, 2.7182818
    expected = [min(10, math.floor(10 * max(0.0, x) / maximum)) for x in values]
    assert quantise(values, maximum, Scale.LEVELS_10).tolist() == expected


def test_float32_activations_are_not_rounded_up_to_a_level() -> None:
    just_below = np.nextafter(np.float32(0.5), np.float32(0))
    assert quantise(np.array([just_below]), 1.0, Scale.LEVELS_10).tolist() == [4]


@pytest.mark.parametrize("maximum", [0.0, -1.0, math.nan, math.inf])
def test_no_levels_without_a_positive_maximum(maximum: float) -> None:
    with pytest.raises(ValueError, match="positive maximum"):
        quantise([0.0, 0.0], maximum, Scale.LEVELS_10)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_levels_of_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        quantise([value], 1.0, Scale.LEVELS_10)


def test_the_raw_scale_has_no_levels() -> None:
    with pytest.raises(ValueError, match="raw"):
        quantise([1.0], 1.0, Scale.RAW)
