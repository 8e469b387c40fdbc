"""How much of the corpus each scored token stands for.

A unit's score records are no random sample: half of them are there because the unit fires. A correlation over them
says how well the explanation orders what was picked, and a correlation over the corpus may be quite different (OIK:
scores on top-and-random samples fail the missing-label and extra-label tests). With weights the picked records stand
for the corpus again. Two schemes have names:

tm      TM's importance variant, as published: weight 1 for a random example, density x interval probability for an
        example of an interval, where the interval probability is the share of the unit's firing tokens that lie in
        it. The top examples are TM's 13th interval. The paper names no weight for the top tokens in other contexts;
        they are no sample of the corpus and get 0.
design  Inverse inclusion probabilities. Every token of the corpus belongs to one class: silent (activation 0), or one
        of the 13 slices of [0, max]. The harvest counted the tokens N of every class, so the n sampled focus tokens
        of a class stand for N / n each. A random record counts in the class of its focus token (post-stratification),
        together with the records sampled from that slice. Top records were not sampled but taken: in a class with
        sampled records each stands for itself alone and the sampled ones for the rest; in a class without any they
        stand for all of it, which misplaces an activation by at most one slice's width, max / 13. Out-of-context
        records get 0.

The published recipe is no estimate of the corpus: it counts the random examples, which already hold the firing tokens
at their true rate, and then the intervals once more at one share each, whatever the number of examples per share. On
the made-up corpus of the tests the mean activation comes out a tenth too high by `tm`, right by `design`, and eleven
times too high without weights. `tm` is kept under its own name because results published with it must be comparable.

What weight have the OTHER tokens of a window? Only the focus token was drawn, yet all nine are scored. They must not
be weighted by their own activation: silent neighbours of a firing token would then stand for all silence of the
corpus. Every token of the window carries the weight of its focus token. Each token of the corpus lies in as many
windows as any other (nine: one for each position it can have), so drawing windows through their focus gives every
token its chance, and the weighted mean over all tokens of the windows estimates the mean of the corpus (the
generalised weight share method, Lavallée 2007). Where windows are shifted or cut at the edges of a block this is not
so: a token near an edge lies in fewer windows, and its weight is divided by their number (`multiplicity`), in
proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autointerp.types import FloatArray, Stratum, UnitStatistics

__all__ = ["ImportanceScheme", "RecordWeights", "multiplicity", "record_weights", "token_weights"]

_SLICES = 13
_SILENT = 13  # the class after the slices 0..12


class ImportanceScheme(StrEnum):
    """Which weights (see the module)."""

    TM = "tm"
    DESIGN = "design"


@dataclass(frozen=True, slots=True, eq=False)
class RecordWeights:
    """The weight of each record, and what they are worth.

    weights: [n_records] >= 0; under `design` the number of corpus tokens that the focus token stands for; covered:
    share of the corpus, in [0, 1], whose class has a record at all (1 under `tm`, which does not ask);
    effective_records: Kish's effective sample size, (sum w)^2 / sum w^2: few effective records mean an unstable
    score.
    """

    scheme: ImportanceScheme
    weights: FloatArray
    covered: float
    effective_records: float


def record_weights(
    strata: Sequence[Stratum],
    focus_activations: ArrayLike,
    statistics: UnitStatistics,
    scheme: ImportanceScheme = ImportanceScheme.DESIGN,
) -> RecordWeights:
    """The weights of a unit's score records, from why each was chosen and what the harvest counted.

    strata: [n_records]; focus_activations: [n_records], raw activation of each focus token (finite), which places the
    random and top records. How many were sampled of each stratum is counted in `strata`, so pass all records that are
    scored, and only those. Raises ValueError where lengths differ, an activation is not finite, or all weights are 0.
    """
    focus = np.asarray(focus_activations, dtype=np.float64)
    if focus.shape != (len(strata),) or not np.isfinite(focus).all():
        raise ValueError(f"{len(strata)} records need one finite activation of their focus token each")
    if scheme is ImportanceScheme.TM:
        weights, covered = np.array([_published_weight(stratum, statistics) for stratum in strata]), 1.0
    else:
        weights, covered = _design_weights(strata, focus, statistics)
    if not weights.sum() > 0:
        raise ValueError("no record stands for any part of the corpus: sample random records or slices as well")
    weights.setflags(write=False)
    return RecordWeights(scheme, weights, covered, float(weights.sum() ** 2 / (weights**2).sum()))


def token_weights(
    records: RecordWeights, lengths: Sequence[int], multiplicities: Sequence[ArrayLike] | None = None
) -> list[FloatArray]:
    """The weight of every token of every record: a list of [length] arrays, to be given to `score_with_interval`.

    lengths: tokens of each record's window; multiplicities: per record, in how many windows of the corpus each of its
    tokens lies (see `multiplicity`); None where that is the same for all. Raises ValueError where lengths differ.
    """
    if len(lengths) != len(records.weights):
        raise ValueError(f"{len(records.weights)} record weights for {len(lengths)} windows")
    whole = [np.full(length, weight) for length, weight in zip(lengths, records.weights, strict=True)]
    if multiplicities is None:
        return whole
    return [weights / _positive(m, weights.size) for weights, m in zip(whole, multiplicities, strict=True)]


def multiplicity(starts: ArrayLike, stops: ArrayLike, length: int) -> NDArray[np.int64]:
    """In how many windows each position of a block lies [length].

    starts, stops: [length] the window [start, stop) that would be cut around each position if it were the focus.
    """
    begun = np.bincount(np.asarray(starts, dtype=np.int64), minlength=length)[:length]
    ended = np.bincount(np.asarray(stops, dtype=np.int64), minlength=length)[:length]
    return np.cumsum(begun - ended)


def _published_weight(stratum: Stratum, statistics: UnitStatistics) -> float:
    if stratum is Stratum.RANDOM:
        return 1.0
    interval = 12 if stratum is Stratum.TOP else stratum.slice
    if interval is None or statistics.fired == 0:
        return 0.0
    return statistics.density * float(statistics.interval_tokens[interval]) / statistics.fired


def _design_weights(
    strata: Sequence[Stratum], focus: FloatArray, statistics: UnitStatistics
) -> tuple[FloatArray, float]:
    classes = np.array([_class_of(s, a, statistics) for s, a in zip(strata, focus, strict=True)], dtype=np.int64)
    top = np.array([stratum is Stratum.TOP for stratum in strata], dtype=bool)
    used = classes >= 0
    taken = np.bincount(classes[used & top], minlength=_SLICES + 1)
    sampled = np.bincount(classes[used & ~top], minlength=_SLICES + 1)
    tokens = np.append(statistics.interval_tokens, statistics.n_tokens - statistics.fired).astype(np.float64)
    alone = np.where(sampled > 0, 1.0, tokens / np.maximum(taken, 1))
    rest = np.maximum(tokens - taken, 0.0) / np.maximum(sampled, 1)
    weights = np.where(used, np.where(top, alone[classes], rest[classes]), 0.0)
    return weights, float(tokens[(taken + sampled) > 0].sum() / tokens.sum())


def _class_of(stratum: Stratum, activation: float, statistics: UnitStatistics) -> int:
    """The class of a focus token; -1 for a record that is no sample of the corpus."""
    if stratum is Stratum.OUT_OF_CONTEXT:
        return -1
    if stratum.slice is not None:
        return stratum.slice
    if activation <= 0:
        return _SILENT
    above = int(np.searchsorted(statistics.interval_edges[1:_SILENT], activation, side="left"))
    return min(above, _SLICES - 1)


def _positive(values: ArrayLike, length: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (length,) or not (array > 0).all():
        raise ValueError(f"a window of {length} tokens needs a positive multiplicity for each")
    return array
