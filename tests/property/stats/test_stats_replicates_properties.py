"""A resample computed at once is the weighted metric of the resampled tokens, computed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autointerp.stats import METRICS, evaluate
from autointerp.stats.replicates import Clustered, replicate
from autointerp.stats.series import paired
from autointerp.types import Unscored

PROPERTY = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def samples(draw: st.DrawFn) -> Clustered:
    """Clusters of different lengths in mixed order; truth with ties; weights of 1 or uneven."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_clusters = draw(st.integers(2, 8))
    cluster = rng.permuted(np.repeat(np.arange(n_clusters), rng.integers(1, 12, n_clusters)))
    truth = rng.exponential(size=cluster.size) * (rng.random(cluster.size) < draw(st.floats(0.2, 1)))
    prediction = np.round(0.5 * truth + rng.exponential(size=cluster.size), draw(st.sampled_from([0, 1, 12])))
    truth[0], prediction[:2] = 1 + truth.max(), (0, 3)  # neither series is constant
    weights = rng.uniform(0.01, 2, cluster.size) if draw(st.booleans()) else np.ones(cluster.size)
    return Clustered(paired(truth, prediction, weights), cluster, n_clusters)


@pytest.mark.parametrize("metric", METRICS)
@PROPERTY
@given(sample=samples(), seed=st.integers(0, 2**32), whole=st.booleans())
def test_replicates_are_the_metric_with_multiplied_weights(
    metric: str, sample: Clustered, seed: int, whole: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = (12, sample.n_clusters)
    multiplicity = rng.integers(0, 4, shape).astype(float) if whole else rng.uniform(0, 2, shape)
    multiplicity[0] = 1
    multiplicity[multiplicity.sum(axis=1) == 0] = 1  # every resample draws something
    found = replicate(metric, sample, multiplicity)
    for row, value in zip(multiplicity, found, strict=True):
        weights = sample.pair.weights * row[sample.cluster]
        alone = evaluate(metric, sample.pair.truth, sample.pair.prediction, weights)
        if isinstance(alone, Unscored):
            assert np.isnan(value)
        else:
            assert value == pytest.approx(alone, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("metric", ["pearson", "spearman", "r2_centred"])
def test_a_resample_of_silent_contexts_only_is_undefined(metric: str) -> None:
    truth = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0])
    sample = Clustered(paired(truth, np.arange(6.0)), np.array([0, 0, 1, 1, 2, 2]), 3)
    found = replicate(metric, sample, np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 0.0], [1.5, 0.0, 1.5]]))
    assert np.isnan(found).tolist() == [False, True, False]


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_of_resamples_are_joined_in_order(metric: str) -> None:
    rng = np.random.default_rng(0)
    sample = Clustered(paired(rng.random(30), rng.random(30)), np.repeat(np.arange(6), 5), 6)
    multiplicity = rng.uniform(0.1, 2, (257, 6))
    alone = np.concatenate([replicate(metric, sample, row[None]) for row in multiplicity])
    assert replicate(metric, sample, multiplicity) == pytest.approx(alone, rel=1e-12)
