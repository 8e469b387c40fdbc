"""A score with its confidence interval.

The contexts of a unit are few (LMEN: 5 top and 5 random; TM: 60), tokens inside one are dependent, and scores are
bounded and skewed. The method, called `METHOD` in every `Interval` made here:

1. Draw clusters within strata, seeded, with Rao and Wu's rescaling (see `resampling`), and compute the metric on every
   resample (see `replicates`).
2. Map the score and the resamples to a scale where the spread hardly depends on the value: Fisher's z = artanh(r) for
   correlations, -log(1 - v) for the explained shares, which is the logarithm of a ratio. Scores above `CEILING` are all
   the same on that scale; without it one resample at r = 1 would be infinitely far away.
3. The standard error s is the standard deviation of the resamples on that scale. For correlations it is at least
   (1 - r^2) times the standard deviation that chance pairing would give: the same predictions dealt at random to the
   contexts of their stratum (Hoeffding 1951, exact, no draws). Where active tokens are rare and the prediction is
   unrelated, a sample often has no overlap at all; all its resamples agree on r = -0.02, and a bootstrap alone reports
   that with great certainty. The factor lets the floor fade where the prediction is not unrelated: without it,
   intervals of good scores cover 98% to 100%.
4. The interval is value +- t s, mapped back. t is Student's quantile with the degrees of freedom that s has:
   2 V^2 / Var(V) (Satterthwaite), where V is the jackknife variance and Var(V) comes from how unequally the clusters
   contribute to it; at most clusters - strata, and 2 where one cluster contributes everything. A score that hangs on
   two contexts is known as well as two contexts allow, however many others there are.

Coverage, measured. `tests/benchmarks/coverage_of_intervals.py` draws 1,000 samples per row from synthetic populations
of contexts whose true score is known (bursts of activation, a quality that differs from context to context, false
alarms in bursts) and counts how often the 95% interval holds the truth. In per cent; in brackets how often the interval
lies wholly above the truth, ideally 2.5: on that depends a ranking by the low end. Standard error 0.7.

                                      feature                                         neuron
                                      good        middling    poor        unrelated   middling    poor
    5 top + 5 random x 64, Pearson    96 (2.4)    96 (1.2)    87 (0.2)    91 (0.0)    96 (2.4)    96 (2.4)
    10 top + 10 random x 64, Pearson  96 (2.4)    96 (1.6)    89 (0.5)    94 (0.2)    95 (2.3)    95 (1.9)
    10 random x 64, Pearson           87 (12.5)   96 (0.3)    86 (0.0)    97 (0.0)    98 (0.9)    98 (1.2)
    TM's 60 x 9, Spearman             95 (3.3)    95 (1.6)    96 (2.1)    95 (2.8)    95 (3.0)    94 (2.4)
    TM's 60 x 9, Pearson              95 (2.2)    95 (1.2)    94 (0.7)    97 (0.4)    94 (3.1)    94 (2.2)
    40 x 9 weighted, Pearson          81 (19.0)   96 (0.8)    96 (0.1)    95 (0.2)    96 (1.2)    98 (0.8)
    for comparison, 5 top + 5 random:
        percentile                    79 (19.6)   85 (11.3)   79 (3.8)    50 (0.3)    89 (5.5)    89 (4.9)
        BCa                           81 (16.2)   88 (8.3)    82 (3.3)    51 (0.2)    84 (7.0)    86 (6.7)
    and TM's 60 x 9, Pearson:
        percentile                    89 (8.3)    92 (3.8)    90 (2.1)    88 (1.2)    91 (5.5)    91 (4.0)
        BCa                           91 (5.5)    93 (3.2)    92 (2.4)    88 (2.3)    90 (5.3)    90 (4.6)

What to make of it. Percentile and BCa intervals are too narrow with ten contexts, and for good explanations they lie
above the truth more than five times too often. This method holds its level within 2% for neurons (3% too wide on ten
random contexts), for good and middling explanations of features and for 60 contexts. Where it falls short:
- Poor explanations of sparse features, and unrelated ones, with ten or twenty contexts: 87% to 94%. The few contexts
  where truth and prediction would meet are often not in the sample. The error is on the upper side; the low end is
  safe.
- Random-only scores of a sparse feature rest on one to three active contexts. Four of ten such samples get no interval
  (below), and of the others one in eight lies above the truth of a good explanation.
- A good explanation of a sparse feature, weighted back to the corpus: 81%, and 19% above the truth. A false alarm in
  one of ten random contexts, which stand for nearly the whole corpus, costs most of the score, and a third of the
  samples hold none.
- Nothing can be known about failures that no sampled context shows: ten contexts, all predicted perfectly, are
  compatible with a simulator that misses one context in four.

An interval is None, and the reason is said in `Measurement.note`, where there is one cluster, no degree of freedom, or
where the metric is undefined in more than 5% of the resamples (for instance when one context holds all the activity).
Importance weights are taken as known. Top contexts are the highest of the corpus, not a random sample of anything; the
interval treats them as a sample of the contexts that could have been the top ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from autointerp.seeds import generator
from autointerp.stats.correlation import centred, evaluate_pair, midranks
from autointerp.stats.replicates import Clustered, replicate
from autointerp.stats.resampling import Design, design_of
from autointerp.stats.series import Pair, paired
from autointerp.types import FloatArray, Interval, Outcome, Scored, Unscored

__all__ = ["CEILING", "METHOD", "UNDEFINED_LIMIT", "Measurement", "measure", "score_with_interval"]

METHOD = "rescaled_cluster_bootstrap_t"
UNDEFINED_LIMIT = 0.05
CEILING = 0.999
_CORRELATIONS = ("pearson", "spearman")
_LARGEST_EXPONENT = 700.0  # exp of it is still finite


@dataclass(frozen=True, slots=True)
class Measurement:
    """An outcome and how its interval came about.

    resamples, undefined: drawn, and of these without a value; degrees_of_freedom, standard_error: of the interval, the
    latter on the transformed scale (z for correlations); 0 and None without interval; note: why there is none, or "".
    """

    outcome: Outcome
    resamples: int = 0
    undefined: int = 0
    degrees_of_freedom: float = 0.0
    standard_error: float | None = None
    note: str = ""


def score_with_interval(
    metric: str,
    truth: Sequence[ArrayLike],
    prediction: Sequence[ArrayLike],
    clusters: Sequence[str],
    strata: Sequence[str] | None = None,
    weights: Sequence[ArrayLike] | None = None,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Outcome:
    """The metric over all tokens of all contexts concatenated, with its interval.

    truth, prediction, weights: one series per context, of its length; clusters, strata: one name per context (without
    strata all contexts are of one; see `stratum_group`); level in (0, 1). `Scored.n_contexts` and `n_tokens` count
    what has a positive weight. Raises ValueError for an unknown metric and for series that do not match or are not
    finite.
    """
    return measure(
        metric, truth, prediction, clusters, strata, weights, seed=seed, resamples=resamples, level=level
    ).outcome


def measure(
    metric: str,
    truth: Sequence[ArrayLike],
    prediction: Sequence[ArrayLike],
    clusters: Sequence[str],
    strata: Sequence[str] | None = None,
    weights: Sequence[ArrayLike] | None = None,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Measurement:
    """As `score_with_interval`, with what it took: undefined resamples, error, why there is no interval."""
    if not 0 < level < 1 or resamples < 2:
        raise ValueError(f"level {level} must lie between 0 and 1, resamples {resamples} must be 2 or more")
    pair, context = _concatenated(truth, prediction, weights)
    if not len(clusters) == len(truth) == len(strata if strata is not None else truth):
        raise ValueError(f"{len(truth)} contexts need one cluster and one stratum each")
    value = evaluate_pair(metric, pair)
    if isinstance(value, Unscored):
        return Measurement(value)
    used, record = np.unique(context, return_inverse=True)
    names = [strata[index] if strata is not None else "" for index in used]
    design = design_of([clusters[index] for index in used], names, np.bincount(record).tolist())
    sample = Clustered(pair, design.cluster[record], design.n_clusters)
    return _interval(_Task(metric, value, sample, design, used.size, level), resamples, seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    metric: str
    value: float
    sample: Clustered
    design: Design
    n_contexts: int
    level: float

    def scored(self, interval: Interval | None) -> Scored:
        return Scored(self.value, interval, self.n_contexts, self.sample.pair.truth.size)


def _concatenated(
    truth: Sequence[ArrayLike], prediction: Sequence[ArrayLike], weights: Sequence[ArrayLike] | None
) -> tuple[Pair, NDArray[np.intp]]:
    """The tokens that count and the context of each [n]."""
    if len(truth) != len(prediction) or (weights is not None and len(weights) != len(truth)):
        raise ValueError(
            f"{len(truth)} contexts of truth and {len(prediction)} of prediction (or weights): not one each"
        )
    true, predicted = ([np.asarray(one, dtype=np.float64) for one in many] for many in (truth, prediction))
    given = weights if weights is not None else [np.ones(t.shape) for t in true]
    weight = [np.asarray(one, dtype=np.float64) for one in given]
    for number, (t, p, w) in enumerate(zip(true, predicted, weight, strict=True)):
        if not t.shape == p.shape == w.shape or t.ndim != 1:
            raise ValueError(
                f"context {number}: truth {t.shape}, prediction {p.shape} and weights {w.shape} do not match"
            )
    if not true:
        return paired([], []), np.zeros(0, dtype=np.intp)
    every_weight = np.concatenate(weight)
    pair = paired(np.concatenate(true), np.concatenate(predicted), every_weight)
    context = np.repeat(np.arange(len(true)), [t.size for t in true])
    return pair, context[every_weight > 0]


def _interval(task: _Task, resamples: int, seed: int) -> Measurement:
    if task.design.degrees_of_freedom < 1:
        return Measurement(task.scored(None), note="one cluster of contexts shows no variance")
    drawn = task.design.draw(resamples, generator(seed, "cluster bootstrap"))
    left_out = 1 - np.eye(task.design.n_clusters)
    replicates, jackknife = np.split(replicate(task.metric, task.sample, np.vstack([drawn, left_out])), [resamples])
    defined = replicates[~np.isnan(replicates)]
    undefined = resamples - defined.size
    if undefined > UNDEFINED_LIMIT * resamples:
        note = f"the metric is undefined in {undefined} of {resamples} resamples"
        return Measurement(task.scored(None), resamples, undefined, note=note)
    freedom = _degrees_of_freedom(task, jackknife)
    error = max(float(_stable(task.metric, defined).std(ddof=1)), (1 - task.value**2) * _chance_error(task))
    margin = float(special.stdtrit(freedom, (1 + task.level) / 2)) * error
    return Measurement(task.scored(_around(task, margin)), resamples, undefined, freedom, error)


def _degrees_of_freedom(task: _Task, jackknife: FloatArray) -> float:
    """Of the standard error, from the values without each cluster [n_clusters] (step 4 of the method)."""
    variance = spread = 0.0
    for stratum in task.design.strata:
        values = _stable(task.metric, jackknife[stratum])
        part = (values - values.mean()) ** 2
        variance += float(part.sum())
        spread += float(((part - part.mean()) ** 2).sum()) * part.size / (part.size - 1)
    most = float(task.design.degrees_of_freedom)
    # Without any spread the clusters contribute alike. No value is undefined here: a metric that one cluster's absence
    # makes undefined is undefined in a third of the resamples, and has no interval.
    return min(most, 2 * variance**2 / spread) if spread > 0 else most


def _around(task: _Task, margin: float) -> Interval:
    centre = _stable(task.metric, np.array(task.value))
    low, high = (float(_unstable(task.metric, centre + side * margin)) for side in (-1, 1))
    # A value above the ceiling lies above its own transform; the interval holds it all the same.
    return Interval(min(low, task.value), max(high, task.value), task.level, METHOD)


def _stable(metric: str, values: FloatArray) -> FloatArray:
    if metric in _CORRELATIONS:
        return np.arctanh(np.clip(values, -CEILING, CEILING))
    return -np.log1p(-np.minimum(values, CEILING))


def _unstable(metric: str, values: FloatArray) -> FloatArray:
    return np.tanh(values) if metric in _CORRELATIONS else -np.expm1(np.minimum(-values, _LARGEST_EXPONENT))


def _chance_error(task: _Task) -> float:
    """Standard deviation of the correlation when predictions are dealt at random within strata; 0 for other metrics.

    With g[i, j] the product of the truth of cluster i and the prediction of cluster j (both centred), a random pairing
    of k clusters has variance sum d^2 / (k - 1), d being g centred by row and column (Hoeffding 1951, theorem 2).
    """
    if task.metric not in _CORRELATIONS:
        return 0.0
    pair = task.sample.pair
    ranked = task.metric == "spearman"
    series = [midranks(s, pair.weights) if ranked else s for s in (pair.truth, pair.prediction)]
    a, b = (centred(s, pair.weights) for s in series)
    a, b = a / np.sqrt(pair.weights @ a**2), b / np.sqrt(pair.weights @ b**2)
    first, second = _as_rows(task.sample, pair.weights * a), _as_rows(task.sample, b)
    products = [first[stratum] @ second[stratum].T for stratum in task.design.strata]
    return float(np.sqrt(sum(_pairing_variance(g) for g in products)))


def _as_rows(sample: Clustered, values: FloatArray) -> FloatArray:
    """Values [n] as one row per cluster, in order, filled up with 0 (the mean) where clusters differ in length."""
    order = np.argsort(sample.cluster, kind="stable")
    lengths = np.bincount(sample.cluster, minlength=sample.n_clusters)
    column = np.arange(order.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = np.zeros((sample.n_clusters, int(lengths.max())))
    rows[sample.cluster[order], column] = values[order]
    return rows


def _pairing_variance(products: FloatArray) -> float:
    d = products - products.mean(axis=0) - products.mean(axis=1, keepdims=True) + products.mean()
    return float((d**2).sum() / (len(d) - 1))
