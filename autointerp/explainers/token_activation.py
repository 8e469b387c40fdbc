"""The explainer of LMEN (step 1): token<TAB>level lines of the unit's strongest contexts, one sentence back."""

from __future__ import annotations

from functools import partial
from typing import Any

from autointerp.explainers.asking import SILENT, ExplainerSettings, Question, few_shot_excerpt, record_excerpt
from autointerp.prompting import Excerpt, Prompt, is_sparse, load_template, parse_sentence, strongest
from autointerp.protocols import ChatRequest, LanguageModel
from autointerp.types import ExplainSplit, Explanation, UnitId, UnitStatistics, Unscored

__all__ = ["TokenActivationExplainer"]

# The words an explanation completes: part of the prompt, and recognised where a reply repeats them.
_OPENING = "The main thing this unit does is find"
_STRONGEST = 8
"""Tokens that are listed once more, by level: a small model else names a frequent token instead of a strong one."""


class TokenActivationExplainer:
    """Shows every token of the explain split with its level; where under 20% are above 0, again without the zeros."""

    name = "token_activation"
    version = 2

    def __init__(self, settings: ExplainerSettings) -> None:
        self.settings = settings
        template = load_template("token_activation/explain@2")
        examples = [
            {"explanation": one.explanation}
            | _shown([few_shot_excerpt(example, one.maximum, settings.scale) for example in one.excerpts])
            for one in template.examples(settings.few_shot)
        ]
        fixed = {"highest": settings.scale.highest, "opening": _OPENING, "examples": examples}
        self.prompt = Prompt.of(template, fixed)

    def request(
        self, unit: UnitId, records: ExplainSplit, statistics: UnitStatistics, model: LanguageModel, seed: int
    ) -> ChatRequest:
        """What `explain` sends, for plans. Raises ValueError where the unit is silent in `records`."""
        return self._question(records).request(unit, model, seed)

    async def explain(
        self, unit: UnitId, records: ExplainSplit, statistics: UnitStatistics, model: LanguageModel, seed: int
    ) -> Explanation | Unscored:
        """See `autointerp.protocols.Explainer`. The statistics are not shown."""
        if records.maximum <= 0:
            return SILENT
        return await self._question(records).ask(unit, model, seed)

    def _question(self, records: ExplainSplit) -> Question:
        scale, maximum = self.settings.scale, records.maximum
        variables = {"unit": _shown([record_excerpt(record, maximum, scale) for record in records.records])}
        method = f"{self.name}@{self.version}"
        return Question(method, self.prompt, variables, self.settings, partial(parse_sentence, opening=_OPENING))


def _shown(excerpts: list[Excerpt]) -> dict[str, Any]:
    return {"excerpts": excerpts, "is_sparse": is_sparse(excerpts), "strongest": strongest(excerpts, _STRONGEST)}
