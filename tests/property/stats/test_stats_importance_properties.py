"""Importance weights on generated corpora: classes counted by hand, estimates averaged over every possible sample."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autointerp.stats import ImportanceScheme, RecordWeights, multiplicity, record_weights, token_weights
from autointerp.types import Stratum, UnitStatistics, frozen_array

SLICES = [Stratum(1 + number) for number in range(13)]
SILENT = 13
MAXIMUM = 13.0  # so that slice i is the interval (i, i + 1]
# A busy machine is no defect.
PROPERTY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def class_of(activation: float) -> int:
    """0..12: the slice that holds an activation; 13: silence. By the definition, one edge after another."""
    if activation <= 0:
        return SILENT
    return next(number for number in range(13) if number < activation <= number + 1)


def statistics_of(corpus: list[float]) -> UnitStatistics:
    classes = [class_of(one) for one in corpus]
    return UnitStatistics(
        n_tokens=len(corpus),
        fired=sum(one > 0 for one in corpus),
        maximum=MAXIMUM,
        mean=0.0,
        mean_square=0.0,
        interval_edges=frozen_array(np.linspace(0, MAXIMUM, 14)),
        interval_tokens=np.array([classes.count(number) for number in range(13)], dtype=np.int64),
        histogram=np.zeros(1, dtype=np.int64),
        histogram_scale=MAXIMUM,
    )


@dataclass(frozen=True)
class Sample:
    """A corpus and the focus tokens drawn from it: places, and why each was drawn."""

    corpus: list[float]
    places: list[int]
    strata: list[Stratum]

    def weights(self, scheme: ImportanceScheme = ImportanceScheme.DESIGN) -> RecordWeights:
        return record_weights(self.strata, self.focus, statistics_of(self.corpus), scheme)

    @property
    def focus(self) -> list[float]:
        return [self.corpus[place] for place in self.places]


# Activations on the edges of slices, and between them; most tokens are silent.
activations = st.one_of(st.just(0.0), st.just(0.0), st.integers(0, 26).map(lambda half: half / 2), st.just(-1.0))
corpora = st.lists(activations, min_size=1, max_size=60)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Top records are the strongest tokens; slices and random records are drawn; no token twice."""
    corpus = draw(corpora)
    ranked = sorted(range(len(corpus)), key=lambda place: -corpus[place])
    top = [place for place in ranked[: draw(st.integers(0, 4))] if corpus[place] > 0]
    others = draw(st.permutations([place for place in range(len(corpus)) if place not in top]))
    drawn = others[: draw(st.integers(0, 12))]
    elsewhere = others[len(drawn) : len(drawn) + draw(st.integers(0, 2))]
    assume(top or drawn)
    by_slice = [draw(st.booleans()) and corpus[place] > 0 for place in drawn]
    strata = [Stratum.TOP] * len(top)
    strata += [
        SLICES[class_of(corpus[place])] if sliced else Stratum.RANDOM
        for place, sliced in zip(drawn, by_slice, strict=True)
    ]
    strata += [Stratum.OUT_OF_CONTEXT] * len(elsewhere)
    return Sample(corpus, [*top, *drawn, *elsewhere], strata)


@PROPERTY
@given(samples())
def test_the_records_of_a_class_stand_together_for_the_tokens_of_the_class(sample: Sample) -> None:
    found = sample.weights()
    held = dict.fromkeys(range(14), 0.0)
    seen = set()
    for weight, stratum, value in zip(found.weights, sample.strata, sample.focus, strict=True):
        if stratum is Stratum.OUT_OF_CONTEXT:
            assert weight == 0
            continue
        held[class_of(value)] += weight
        seen.add(class_of(value))
    counts = {number: sum(class_of(one) == number for one in sample.corpus) for number in range(14)}
    assert held == pytest.approx({number: counts[number] if number in seen else 0 for number in counts})
    assert found.covered == pytest.approx(sum(counts[number] for number in seen) / len(sample.corpus))
    assert found.weights.sum() == pytest.approx(found.covered * len(sample.corpus))


@PROPERTY
@given(samples())
def test_of_one_class_all_sampled_records_weigh_alike_and_top_ones_no_more(sample: Sample) -> None:
    found = sample.weights()
    by_class: dict[tuple[int, bool], set[float]] = {}
    for weight, stratum, value in zip(found.weights.tolist(), sample.strata, sample.focus, strict=True):
        if stratum is not Stratum.OUT_OF_CONTEXT:
            by_class.setdefault((class_of(value), stratum is Stratum.TOP), set()).add(round(weight, 9))
    assert all(len(weights) == 1 for weights in by_class.values())
    for (number, is_top), weights in by_class.items():
        if is_top and (number, False) in by_class:
            assert weights == {1.0}
            assert min(by_class[number, False]) >= 1


@PROPERTY
@given(corpora)
def test_a_sample_of_everything_weighs_nothing_up(corpus: list[float]) -> None:
    everything = Sample(corpus, list(range(len(corpus))), [Stratum.RANDOM] * len(corpus))
    found = everything.weights()
    assert found.weights.tolist() == [1.0] * len(corpus)
    assert (found.covered, found.effective_records) == (1.0, pytest.approx(len(corpus)))


@PROPERTY
@given(
    st.lists(st.sampled_from([0.0, -1.0]), min_size=1, max_size=5),
    st.lists(st.sampled_from([0.5, 1.0]), min_size=1, max_size=4),
    st.lists(st.sampled_from([6.5, 7.0, 6.25]), min_size=1, max_size=4),
    st.data(),
)
def test_over_all_samples_there_could_be_the_weighted_sum_is_that_of_the_corpus(
    silent: list[float], low: list[float], high: list[float], data: st.DataObject
) -> None:
    """Unbiased, by enumeration: whatever value each token has, not only its activation."""
    corpus = [*silent, *low, *high]
    groups = [
        range(len(silent)),
        range(len(silent), len(silent) + len(low)),
        range(len(silent) + len(low), len(corpus)),
    ]
    sizes = [data.draw(st.integers(1, len(group))) for group in groups]
    strata = [Stratum.RANDOM] * sizes[0] + [SLICES[0]] * sizes[1] + [Stratum.RANDOM] * sizes[2]
    values = np.random.default_rng(len(corpus)).normal(size=len(corpus))
    sums = []
    choices = (itertools.combinations(group, size) for group, size in zip(groups, sizes, strict=True))
    for chosen in itertools.product(*choices):
        places = [place for part in chosen for place in part]
        sums.append(Sample(corpus, places, strata).weights().weights @ values[places])
    assert np.mean(sums) == pytest.approx(values.sum())


@PROPERTY
@given(samples(), st.sampled_from(list(ImportanceScheme)), st.integers(0, 2**32))
def test_the_order_of_records_does_not_matter(sample: Sample, scheme: ImportanceScheme, seed: int) -> None:
    assume(scheme is ImportanceScheme.DESIGN or {Stratum.RANDOM, *SLICES} & set(sample.strata))
    order = np.random.default_rng(seed).permutation(len(sample.places)).tolist()
    mixed = Sample(sample.corpus, [sample.places[i] for i in order], [sample.strata[i] for i in order])
    first, second = sample.weights(scheme), mixed.weights(scheme)
    assert second.weights == pytest.approx(first.weights[order])
    assert second.effective_records == pytest.approx(first.effective_records)


@PROPERTY
@given(samples())
def test_effective_records_are_between_one_and_all_that_count(sample: Sample) -> None:
    found = sample.weights()
    counting = int((found.weights > 0).sum())
    assert 1 - 1e-9 <= found.effective_records <= counting + 1e-9
    equal = len({round(weight, 9) for weight in found.weights.tolist() if weight > 0}) == 1
    assert (found.effective_records == pytest.approx(counting)) == equal


@PROPERTY
@given(corpora)
def test_the_published_weights_of_one_example_of_each_interval_add_up_to_the_density(corpus: list[float]) -> None:
    """Density x interval probability over all intervals; and 1 for a random example, whatever the unit."""
    unit = statistics_of(corpus)
    strata = [Stratum.RANDOM, *SLICES, Stratum.TOP, Stratum.OUT_OF_CONTEXT]
    found = record_weights(strata, [0.0] * len(strata), unit, ImportanceScheme.TM)
    density = sum(one > 0 for one in corpus) / len(corpus)
    assert found.weights[0] == 1
    assert found.weights[1:14].sum() == pytest.approx(density)
    for number in range(13):
        share = sum(class_of(one) == number for one in corpus) / len(corpus)
        assert found.weights[1 + number] == pytest.approx(share)
    assert found.weights[14] == found.weights[13]  # the top examples are the top interval
    assert found.weights[15] == 0


@PROPERTY
@given(st.integers(1, 30), st.integers(1, 12), st.data())
def test_all_windows_together_give_every_token_of_a_block_the_same_weight(
    length: int, window: int, data: st.DataObject
) -> None:
    """Windows shifted or cut at the edges: divided by its multiplicity, each token counts once over all windows."""
    window = min(window, length)
    focus = np.arange(length)
    if data.draw(st.booleans()):
        starts = np.clip(focus - window // 2, 0, length - window)  # shifted
        stops = starts + window
    else:
        starts, stops = np.maximum(focus - window // 2, 0), np.minimum(focus - window // 2 + window, length)  # cut
        stops = np.maximum(stops, starts + 1)
    times = multiplicity(starts, stops, length)
    brute = [sum(start <= place < stop for start, stop in zip(starts, stops, strict=True)) for place in range(length)]
    assert times.tolist() == brute
    records = Sample([0.0] * length, list(range(length)), [Stratum.RANDOM] * length).weights()
    shares = [times[start:stop] for start, stop in zip(starts, stops, strict=True)]
    weights = token_weights(records, (stops - starts).tolist(), shares)
    total = np.zeros(length)
    for start, stop, one in zip(starts, stops, weights, strict=True):
        total[start:stop] += one
    assert total == pytest.approx(np.ones(length))
