"""Predictors without an LLM: what an explanation must beat. They predict on the raw scale and cost nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autointerp.types import Context, ExplainSplit, Provenance, Scale, Simulation

__all__ = ["BASELINES", "Baseline", "constant", "token_lookup"]

Baseline = Callable[[ExplainSplit, Sequence[Context]], tuple[Simulation, ...]]


def token_lookup(explain: ExplainSplit, contexts: Sequence[Context]) -> tuple[Simulation, ...]:
    """Each token's mean raw activation over the explain split; a token that does not occur there gets 0 (LMEN).

    0 is what most units have on most tokens. An explain split of strong contexts alone (LMEN's) has no better guess for
    the background: its own mean is far above that of ordinary text.
    """
    values: defaultdict[str, list[float]] = defaultdict(list)
    for record in explain.records:
        for token, value in zip(record.context.tokens, record.activations.tolist(), strict=True):
            values[token].append(value)
    means = {token: float(np.mean(seen)) for token, seen in values.items()}
    provenance = Provenance(method="token_lookup@1")
    return tuple(
        Simulation("", one.id, np.array([means.get(token, 0.0) for token in one.tokens]), Scale.RAW, provenance)
        for one in contexts
    )


def constant(explain: ExplainSplit, contexts: Sequence[Context]) -> tuple[Simulation, ...]:
    """The mean raw activation over all tokens of the explain split, everywhere. No correlation exists with it."""
    mean = float(np.concatenate([record.activations for record in explain.records]).mean())
    provenance = Provenance(method="constant@1")
    return tuple(Simulation("", one.id, np.full(len(one), mean), Scale.RAW, provenance) for one in contexts)


BASELINES: Mapping[str, Baseline] = {"token_lookup": token_lookup, "constant": constant}
