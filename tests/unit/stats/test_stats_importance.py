"""Weights that turn a stratified sample of windows back into the corpus it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from autointerp.stats import ImportanceScheme, multiplicity, pearson, record_weights, token_weights
from autointerp.types import Stratum, UnitStatistics, frozen_array

SLICES = [Stratum(1 + i) for i in range(13)]


def statistics(interval_tokens: list[int], n_tokens: int, maximum: float = 13.0) -> UnitStatistics:
    return UnitStatistics(
        n_tokens=n_tokens,
        fired=sum(interval_tokens),
        maximum=maximum,
        mean=0.0,
        mean_square=0.0,
        interval_edges=frozen_array(np.linspace(0, maximum, 14)),
        interval_tokens=np.array(interval_tokens, dtype=np.int64),
        histogram=np.zeros(1, dtype=np.int64),
        histogram_scale=maximum,
    )


UNIT = statistics([400, 200, 100, 50, 40, 30, 20, 20, 10, 10, 10, 6, 4], 10_000)  # fires on 900 of 10,000 tokens


def test_the_published_recipe() -> None:
    # density 0.09; interval probabilities 400/900 and 4/900; the top examples are the top interval
    strata = [Stratum.RANDOM, Stratum.SLICE_0, Stratum.TOP, Stratum.SLICE_12, Stratum.OUT_OF_CONTEXT]
    found = record_weights(strata, [0, 0.5, 13, 12.5, 3], UNIT, ImportanceScheme.TM)
    assert found.weights == pytest.approx([1, 0.09 * 400 / 900, 0.09 * 4 / 900, 0.09 * 4 / 900, 0])


def test_weights_by_design_stand_for_the_classes_of_the_corpus() -> None:
    # silent: 9,100 tokens by 2 random records; slice 0: 400 tokens by 1 random and 3 sampled; slice 11: 6 by 2;
    # slice 12: 1 sampled and 2 top records, which stand for themselves, so the sampled one for the other 2 of 4
    strata = [Stratum.RANDOM] * 3 + [Stratum.SLICE_0] * 3 + [Stratum.SLICE_11] * 2 + [Stratum.SLICE_12]
    strata += [Stratum.TOP] * 2 + [Stratum.OUT_OF_CONTEXT]
    focus = [0, 0.7, 0, 0.1, 0.2, 1.0, 11.5, 12.0, 12.5, 13, 12.9, 0.3]
    found = record_weights(strata, focus, UNIT)
    assert found.weights == pytest.approx([4550, 100, 4550, 100, 100, 100, 3, 3, 2, 1, 1, 0])
    assert found.covered == pytest.approx((9100 + 400 + 6 + 4) / 10_000)
    assert found.weights.sum() == pytest.approx(found.covered * 10_000)


def test_top_records_stand_for_a_class_that_nothing_else_sampled() -> None:
    found = record_weights([Stratum.TOP, Stratum.TOP, Stratum.RANDOM], [13, 12.5, 0], UNIT)
    assert found.weights == pytest.approx([2, 2, 9100])


def test_a_top_record_below_the_top_slice_counts_in_its_own() -> None:
    # edges 0, 1, ..., 13: an activation of exactly 11 belongs to slice 10, the interval (10, 11]
    found = record_weights([Stratum.TOP, Stratum.TOP, Stratum.RANDOM], [13, 11, 0], UNIT)
    assert found.weights == pytest.approx([4, 10, 9100])


def test_effective_records() -> None:
    found = record_weights([Stratum.RANDOM] * 4, [0, 0, 0, 0], UNIT)
    assert found.effective_records == pytest.approx(4)
    uneven = record_weights([Stratum.RANDOM, Stratum.SLICE_11], [0, 11.5], UNIT)
    assert uneven.effective_records == pytest.approx(9106**2 / (9100**2 + 6**2))


def test_a_sample_that_stands_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="stands for any part"):
        record_weights([Stratum.OUT_OF_CONTEXT], [1.0], UNIT)
    with pytest.raises(ValueError, match="one finite activation"):
        record_weights([Stratum.RANDOM], [1.0, 2.0], UNIT)
    with pytest.raises(ValueError, match="one finite activation"):
        record_weights([Stratum.RANDOM], [np.nan], UNIT)


def test_every_token_of_a_window_carries_its_records_weight() -> None:
    records = record_weights([Stratum.RANDOM, Stratum.SLICE_11], [0, 11.5], UNIT)
    first, second = token_weights(records, [3, 2])
    assert (first.tolist(), second.tolist()) == ([9100] * 3, [6] * 2)
    divided = token_weights(records, [3, 2], [[1, 2, 4], [3, 3]])
    assert [part.tolist() for part in divided] == [[9100, 4550, 2275], [2, 2]]
    with pytest.raises(ValueError, match="2 record weights for 1 windows"):
        token_weights(records, [3])
    with pytest.raises(ValueError, match="positive multiplicity"):
        token_weights(records, [3, 2], [[1, 0, 1], [1, 1]])


def test_multiplicity_counts_windows() -> None:
    length, window = 10, 4
    starts = np.clip(np.arange(length) - 2, 0, length - window)  # shifted at the edges, as a harvest does
    found = multiplicity(starts, starts + window, length)
    assert found.tolist() == [sum(s <= j < s + window for s in starts) for j in range(length)]
    assert found.sum() == length * window


@dataclass
class Corpus:
    """Activations in bursts, and a prediction that errs in bursts: neighbours of a token are not like other tokens."""

    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    statistics: UnitStatistics

    @classmethod
    def make(cls, rng: np.random.Generator, n: int = 20_000) -> Corpus:
        truth, alarms = np.zeros(n), np.zeros(n)
        for start in rng.choice(n - 6, n // 80, replace=False):
            truth[start : start + 6] = rng.uniform(0.2, 1, 6) * rng.exponential(size=6)
        for start in rng.choice(n - 6, n // 60, replace=False):
            alarms[start : start + 6] = rng.uniform(0, 1, 6)
        edges = np.linspace(0, truth.max(), 14)
        tokens = np.histogram(truth[truth > 0], edges)[0]
        return cls(truth, truth + alarms, statistics(tokens.tolist(), n, float(truth.max())))

    def sample(self, rng: np.random.Generator) -> tuple[list[Stratum], NDArray[np.intp]]:
        """TM's: 6 top tokens, 2 of each slice, 10 random tokens; the focus positions."""
        strata, focus = [Stratum.TOP] * 6, [*np.argsort(-self.truth)[:6]]
        edges = self.statistics.interval_edges
        for i, stratum in enumerate(SLICES):
            inside = np.flatnonzero((self.truth > edges[i]) & (self.truth <= edges[i + 1]))
            chosen = rng.choice(inside, min(2, inside.size), replace=False)
            strata += [stratum] * len(chosen)
            focus += [*chosen]
        return strata + [Stratum.RANDOM] * 10, np.array([*focus, *rng.integers(0, self.truth.size, 10)], dtype=np.intp)


Weigh = Callable[[Corpus, list[Stratum], NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]]


def by_record(scheme: ImportanceScheme) -> Weigh:
    def weigh(
        corpus: Corpus, strata: list[Stratum], focus: NDArray[np.intp], windows: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        records = record_weights(strata, corpus.truth[focus], corpus.statistics, scheme)
        return np.array(token_weights(records, [windows.shape[1]] * len(strata)))

    return weigh


def by_own_activation(
    corpus: Corpus, strata: list[Stratum], focus: NDArray[np.intp], windows: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The tempting mistake: every token of a window weighted as if it had been drawn for its own activation."""
    truth, counted = corpus.truth[windows], corpus.statistics
    classes = np.where(truth <= 0, 13, np.minimum(np.searchsorted(counted.interval_edges[1:13], truth), 12))
    tokens = np.append(counted.interval_tokens, counted.n_tokens - counted.fired)
    return np.asarray(tokens[classes] / np.bincount(classes.ravel(), minlength=14)[classes])


def unweighted(
    corpus: Corpus, strata: list[Stratum], focus: NDArray[np.intp], windows: NDArray[np.intp]
) -> NDArray[np.float64]:
    return np.ones(windows.shape)


def expected(corpus: Corpus, weigh: Weigh, repeats: int) -> tuple[float, float]:
    """Means over many samples of the weighted mean truth and mean squared error of all tokens of nine-token windows."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(repeats):
        strata, focus = corpus.sample(rng)
        windows = (focus[:, None] + np.arange(-4, 5)) % corpus.truth.size  # a ring: no edges
        weights = weigh(corpus, strata, focus, windows)
        truth, prediction = corpus.truth[windows], corpus.prediction[windows]
        found.append([np.average(values, weights=weights) for values in (truth, (truth - prediction) ** 2)])
    mean, error = np.mean(found, axis=0)
    return float(mean), float(error)


def test_weights_by_design_recover_the_corpus_from_a_stratified_sample_of_windows() -> None:
    corpus = Corpus.make(np.random.default_rng(0))
    mean, error = corpus.truth.mean(), ((corpus.truth - corpus.prediction) ** 2).mean()
    found = expected(corpus, by_record(ImportanceScheme.DESIGN), 600)
    # over 600 samples both averages have a standard error of about 2%
    assert found == (pytest.approx(mean, rel=0.05), pytest.approx(error, rel=0.05))


def test_other_weights_do_not_recover_it() -> None:
    corpus = Corpus.make(np.random.default_rng(0))
    mean, error = corpus.truth.mean(), ((corpus.truth - corpus.prediction) ** 2).mean()
    assert expected(corpus, unweighted, 100)[0] > 8 * mean
    assert 1.05 * mean < expected(corpus, by_record(ImportanceScheme.TM), 300)[0] < 1.2 * mean
    # Silence beside bursts, where the prediction errs less often, stands for all silence.
    assert expected(corpus, by_own_activation, 300)[1] < 0.9 * error


def test_the_reweighted_correlation_is_that_of_the_corpus() -> None:
    corpus = Corpus.make(np.random.default_rng(0))
    rng = np.random.default_rng(2)
    values: list[tuple[float, float]] = []
    for _ in range(300):
        strata, focus = corpus.sample(rng)
        windows = (focus[:, None] + np.arange(-4, 5)) % corpus.truth.size
        truth, prediction = corpus.truth[windows].ravel(), corpus.prediction[windows].ravel()
        records = record_weights(strata, corpus.truth[focus], corpus.statistics)
        weights = np.concatenate(token_weights(records, [9] * len(strata)))
        pair = pearson(truth, prediction, weights), pearson(truth, prediction)
        assert isinstance(pair[0], float)
        assert isinstance(pair[1], float)
        values.append((pair[0], pair[1]))
    of_corpus = pearson(corpus.truth, corpus.prediction)
    reweighted, plain = np.mean(values, axis=0)
    assert isinstance(of_corpus, float)
    assert abs(reweighted - of_corpus) < 0.5 * abs(plain - of_corpus)
