"""Windows around a focus, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.records import cut, cut_many


@pytest.mark.parametrize(
    ("focus", "length", "window", "bounds"),
    [
        (32, 64, 9, (28, 37)),  # four on either side
        (4, 64, 9, (0, 9)),
        (3, 64, 9, (0, 8)),  # clipped, not shifted
        (0, 64, 9, (0, 5)),
        (60, 64, 9, (56, 64)),
        (63, 64, 9, (59, 64)),
        (5, 9, 9, (0, 9)),  # no longer than the window: whole
        (0, 9, 9, (0, 9)),
        (8, 9, 9, (0, 9)),
        (2, 5, 9, (0, 5)),
        (10, 64, 64, (0, 64)),
        (20, 64, 8, (16, 24)),  # even: one more before than after
        (7, 64, 1, (7, 8)),
        (0, 1, 1, (0, 1)),
    ],
)
def test_bounds_by_hand(focus: int, length: int, window: int, bounds: tuple[int, int]) -> None:
    assert cut(focus, length, window) == bounds


def test_many_are_cut_as_each_one_is() -> None:
    rng = np.random.default_rng(1)
    length = rng.integers(1, 80, 500)
    focus = rng.integers(0, length)
    for window in (1, 2, 9, 21, 64):
        start, stop = cut_many(focus, length, window)
        assert [cut(f, n, window) for f, n in zip(focus.tolist(), length.tolist(), strict=True)] == list(
            zip(start.tolist(), stop.tolist(), strict=True)
        )
        assert ((start <= focus) & (focus < stop) & (stop <= length) & (stop - start <= window)).all()


@pytest.mark.parametrize(("focus", "length", "window"), [(9, 9, 3), (-1, 9, 3), (0, 9, 0)])
def test_what_cannot_be_cut(focus: int, length: int, window: int) -> None:
    with pytest.raises(ValueError, match=r"focus|window"):
        cut(focus, length, window)
