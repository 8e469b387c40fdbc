"""The records that a unit's splits are drawn from, wherever they came from: a context store or a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.types import ActivationRecord, Context, Stratum, UnitId, UnitStatistics

__all__ = ["NO_POSITION", "PAD", "Pool", "Texts"]

PAD = -1
"""Stands in `Pool.tokens` behind the end of a context that is shorter than the widest."""

NO_POSITION = -1
"""Position of a context of which the source does not say where in a corpus it stood."""


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """What the numbers of a pool stand for.

    vocabulary: display text by token number; documents: (stable id, domain) by document number; token_ids: whether the
    numbers are the subject's own ids (a file that holds only text has none).
    """

    vocabulary: Sequence[str]
    documents: Sequence[tuple[str, str]]
    token_ids: bool


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Candidate records of one unit; row by row, the top records first and in order of rank.

    strata [n]: code of `Stratum`; tokens [n, width]: token numbers, `PAD` behind the end; lengths [n]: tokens of each
    context, 1 .. width; focus [n]: position of the token the record was chosen for; positions [n]: offset of the
    context's first token in the corpus, or `NO_POSITION`; documents [n]: document numbers; activations [n, width]: raw.

    Raises ValueError where the shapes disagree or an activation is not finite.
    """

    unit: UnitId
    statistics: UnitStatistics
    strata: NDArray[np.int64]
    tokens: NDArray[np.int32]
    lengths: NDArray[np.int64]
    focus: NDArray[np.int64]
    positions: NDArray[np.int64]
    documents: NDArray[np.int64]
    activations: NDArray[np.float32] | NDArray[np.float64]
    texts: Texts

    def __post_init__(self) -> None:
        columns = (self.strata, self.lengths, self.focus, self.positions, self.documents)
        if any(column.shape != (len(self.tokens),) for column in columns):
            raise ValueError("the columns of a pool are of unequal length")
        if self.activations.shape != self.tokens.shape:
            raise ValueError(f"{self.activations.shape} activations for {self.tokens.shape} tokens")
        if not np.isfinite(self.activations).all():
            raise ValueError("activations must be finite numbers")

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, *strata: Stratum) -> NDArray[np.int64]:
        """The rows of these strata, in the pool's order."""
        return np.flatnonzero(np.isin(self.strata, strata))

    def record(self, row: int, start: int, stop: int, cluster: str) -> ActivationRecord:
        """The record of a row, cut to the tokens [start, stop) of its context; the focus must lie among them."""
        numbers: list[int] = self.tokens[row, start:stop].tolist()
        document, domain = self.texts.documents[self.documents[row]]
        position = int(self.positions[row])
        context = Context(
            tokens=tuple([self.texts.vocabulary[number] for number in numbers]),
            document=document,
            domain=domain,
            position=position if position == NO_POSITION else position + start,
            token_ids=tuple(numbers) if self.texts.token_ids else (),
        )
        activations = self.activations[row, start:stop].astype(np.float64)
        return ActivationRecord(
            context, activations, int(self.focus[row]) - start, Stratum(int(self.strata[row])), cluster
        )
