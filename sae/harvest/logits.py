"""Which tokens a unit raises and lowers in the logits by the direct path (TM, "logit weights")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sae.dictionaries import Dictionary
from sae.store.layout import LISTED_TOKENS
from sae.subjects.base import Subject

_UNITS_AT_ONCE = 1024


@dataclass(frozen=True)
class LogitTokens:
    """The tokens at either end of each unit's logit weights, strongest first.

    Token ids int64 [n_units, 10] padded with -1, and their values float32 padded with 0; a unit's median over all
    tokens is 0.
    """

    top_tokens: NDArray[np.int64]
    top_values: NDArray[np.float32]
    bottom_tokens: NDArray[np.int64]
    bottom_values: NDArray[np.float32]


def logit_tokens(subject: Subject, hook: str, dictionary: Dictionary | None) -> LogitTokens | None:
    """Of the neurons at the hook, or of the dictionary's latents. None where the subject has no direct path."""
    directions = subject.to(torch.float64).logit_directions(hook)
    if directions is None:
        return None
    vectors = torch.eye(len(directions), dtype=torch.float64)
    if dictionary is not None:
        vectors = dictionary.W_dec.detach().to(torch.float64)
    parts = [
        _ends((vectors[start : start + _UNITS_AT_ONCE] @ directions).numpy())
        for start in range(0, len(vectors), _UNITS_AT_ONCE)
    ]
    return LogitTokens(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _ends(weights: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    # Rounded before they are ordered: equal weights are then ordered by token id on every machine.
    shifted = (weights - np.median(weights, axis=1, keepdims=True)).astype(np.float32)
    ends: list[NDArray[Any]] = []
    for signed in (-shifted, shifted):
        tokens = np.argsort(signed, axis=1, kind="stable")[:, :LISTED_TOKENS]
        missing = ((0, 0), (0, LISTED_TOKENS - tokens.shape[1]))
        ends.append(np.pad(tokens, missing, constant_values=-1))
        ends.append(np.pad(np.take_along_axis(shifted, tokens, axis=1), missing))
    return tuple(ends)
