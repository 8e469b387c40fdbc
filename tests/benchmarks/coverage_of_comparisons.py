"""How often do 95% intervals of a comparison hold the truth? Features against neurons with skewed, bounded scores.

Run it: `python tests/benchmarks/coverage_of_comparisons.py [samples]`. The table in `autointerp/stats/comparison.py`
was measured with 500 samples; their standard error is 1% at 95%.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from scipy import integrate, stats

from autointerp.stats import GroupComparison, compare_groups

LEVEL = 0.95
FEATURES = stats.beta(3.0, 1.5)  # most features score high, with a tail of poor ones
NEURONS = stats.beta(0.8, 3.0)  # most neurons score near 0, with a tail of good ones
SIZES = ((10, 10), (30, 30), (100, 30), (100, 100))


def truths() -> dict[str, float]:
    """Differences of mean and median, and Cliff's delta, of the two populations."""
    above = integrate.quad(lambda x: FEATURES.pdf(x) * NEURONS.cdf(x), 0, 1)[0]
    return {
        "mean_difference": FEATURES.mean() - NEURONS.mean(),
        "median_difference": FEATURES.median() - NEURONS.median(),
        "cliffs_delta": 2 * above - 1,
    }


TRUTHS = truths()


def cover(n_features: int, n_neurons: int, samples: int) -> dict[str, float]:
    rng = np.random.default_rng(n_features * 1000 + n_neurons)
    held = dict.fromkeys(TRUTHS, 0)
    for seed in range(samples):
        features = FEATURES.rvs(n_features, random_state=rng)
        neurons = NEURONS.rvs(n_neurons, random_state=rng)
        found = compare_groups(
            features, neurons, n_unscored_features=0, n_unscored_neurons=0, seed=seed, resamples=400, level=LEVEL
        )
        assert isinstance(found, GroupComparison)
        for name, truth in TRUTHS.items():
            interval = getattr(found, name).interval
            held[name] += interval.low <= truth <= interval.high
    return {name: count / samples for name, count in held.items()}


def run(samples: int = 50) -> dict[str, Any]:
    """Coverage for each pair of group sizes. 50 samples take a few seconds."""
    started = time.perf_counter()
    rows = [{"features": n, "neurons": m, **cover(n, m, samples)} for n, m in SIZES]
    return {"samples": samples, "level": LEVEL, "rows": rows, "seconds": round(time.perf_counter() - started, 1)}


if __name__ == "__main__":
    json.dump(run(int(sys.argv[1]) if len(sys.argv) > 1 else 50), sys.stdout, indent=1)
