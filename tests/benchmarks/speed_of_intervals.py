"""How long does a score with its interval take? Target: 10,000 scores in about a minute on one core, 6 ms each.

Run it: `OMP_NUM_THREADS=1 python tests/benchmarks/speed_of_intervals.py`. Processor time, so that a busy machine tells
the same as a quiet one (nearly: it shares caches and clock).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from autointerp.stats.intervals import score_with_interval

DESIGNS = {
    "pearson, 10 contexts x 64 tokens": ("pearson", 64, {"top": 5, "random": 5}),
    "spearman, 10 contexts x 64 tokens": ("spearman", 64, {"top": 5, "random": 5}),
    "pearson, 60 contexts x 9 tokens": ("pearson", 9, {"top": 6, "slices": 24, "random": 10, "out_of_context": 20}),
    "spearman, 60 contexts x 9 tokens": ("spearman", 9, {"top": 6, "slices": 24, "random": 10, "out_of_context": 20}),
}


def run(repeats: int = 100) -> dict[str, Any]:
    """Milliseconds of one call with 1,000 resamples, for a truth that is mostly zero and a prediction without ties."""
    rng = np.random.default_rng(0)
    found = {}
    for name, (metric, length, counts) in DESIGNS.items():
        strata = [stratum for stratum, count in counts.items() for _ in range(count)]
        truth = [np.where(rng.random(length) < 0.8, 0.0, rng.random(length)) for _ in strata]
        prediction = [rng.random(length) for _ in strata]
        clusters = [str(index) for index in range(len(strata))]
        started = time.process_time()
        for seed in range(repeats):
            score_with_interval(metric, truth, prediction, clusters, strata, seed=seed, resamples=1000)
        found[name] = round((time.process_time() - started) / repeats * 1000, 2)
    return {"milliseconds_per_call": found, "repeats": repeats}


if __name__ == "__main__":
    json.dump(run(), sys.stdout, indent=1)
