"""The interval of a ratio of means by resampling blocks, which are what was drawn at random."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_DRAWS_AT_ONCE = 100


def ratio_interval(
    numerator: npt.NDArray[np.float64],
    denominator: npt.NDArray[np.float64],
    *,
    draws: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of ``sum(numerator) / sum(denominator)``, paired values [n_blocks].

    None where the denominator is not clearly positive, that is where the lower end of its own interval is not above 0:
    a ratio to something that may be zero has no interval.
    """
    n = len(numerator)
    pairs = np.stack([numerator, denominator], axis=1)
    sums = np.concatenate(
        [
            rng.multinomial(n, np.full(n, 1 / n), size=min(_DRAWS_AT_ONCE, draws - first)) @ pairs
            for first in range(0, draws, _DRAWS_AT_ONCE)
        ]
    )
    tail = (1 - level) / 2
    if denominator.sum() <= 0 or np.quantile(sums[:, 1], tail) <= 0:
        return None
    # A draw whose denominator is not positive belongs to the small tail just accepted and has no ratio.
    ratios = sums[sums[:, 1] > 0, 0] / sums[sums[:, 1] > 0, 1]
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)
