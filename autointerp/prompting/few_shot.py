"""Few-shot examples: made-up units as data, with raw activations.

Levels are never written into the data: each rendering quantises the raw activations on the scale its instruction names,
so that examples and instruction cannot be on different scales.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from autointerp.errors import BadTemplate
from autointerp.prompting.library import PromptFile

__all__ = ["FewShotExcerpt", "FewShotUnit", "parse_few_shot"]


@dataclass(frozen=True, slots=True)
class FewShotExcerpt:
    """A short text: tokens and raw activations of equal length; `hidden`: how many leading levels a simulator's prompt
    leaves unknown; `interval`: from which part of the unit's range it is."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    hidden: int = 0
    interval: str = ""


@dataclass(frozen=True, slots=True)
class FewShotUnit:
    """A made-up unit: what it responds to, its excerpts and, for the interval explainer, logits and reasoning."""

    explanation: str
    excerpts: tuple[FewShotExcerpt, ...]
    reasoning: str = ""
    top_logits: tuple[str, ...] = ()
    bottom_logits: tuple[str, ...] = ()

    @property
    def maximum(self) -> float:
        """The largest raw activation among its excerpts; 0 where it has none."""
        return max((value for excerpt in self.excerpts for value in excerpt.activations), default=0.0)


def _excerpt(data: dict[str, Any]) -> FewShotExcerpt:
    tokens = tuple(str(token) for token, _ in data["tokens"])
    activations = tuple(float(value) for _, value in data["tokens"])
    hidden = int(data.get("hidden", 0))
    if not tokens or not all(math.isfinite(value) and value >= 0 for value in activations):
        raise ValueError("an excerpt has tokens with finite activations of at least 0")
    if not 0 <= hidden <= len(tokens):
        raise ValueError(f"hidden is {hidden} in an excerpt of {len(tokens)} tokens")
    return FewShotExcerpt(tokens, activations, hidden, str(data.get("interval", "")))


def _unit(data: dict[str, Any]) -> FewShotUnit:
    unit = FewShotUnit(
        explanation=str(data["explanation"]),
        excerpts=tuple(_excerpt(excerpt) for excerpt in data["excerpts"]),
        reasoning=str(data.get("reasoning", "")),
        top_logits=tuple(data.get("top_logits", ())),
        bottom_logits=tuple(data.get("bottom_logits", ())),
    )
    if unit.excerpts and unit.maximum <= 0:
        raise ValueError("a unit fires somewhere in its excerpts")
    return unit


def parse_few_shot(file: PromptFile) -> tuple[FewShotUnit, ...]:
    """The units of a few-shot file. Raises BadTemplate where it is malformed.

    JSON: {"about", "units": [{"explanation", "excerpts": [{"tokens": [[token, raw activation], ...], "hidden",
    "interval"}, ...], "reasoning", "top_logits", "bottom_logits"}, ...]}; see `FewShotUnit` for what is optional.
    """
    try:
        return tuple(_unit(unit) for unit in json.loads(file.text)["units"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadTemplate(f"few-shot file {file.reference}: {error}") from error
