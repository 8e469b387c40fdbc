"""The explainer of TM: short excerpts of every interval of the unit's range, its logits, reasoning, then the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from autointerp.explainers.asking import SILENT, ExplainerSettings, Question, few_shot_excerpt, record_excerpt
from autointerp.prompting import Excerpt, FewShotUnit, Prompt, load_template, parse_answer
from autointerp.protocols import ChatRequest, LanguageModel
from autointerp.records import show_token
from autointerp.types import ExplainSplit, Explanation, Scale, Stratum, UnitId, UnitStatistics, Unscored

__all__ = ["IntervalExplainer"]

_TOP, _RANDOM, _ELSEWHERE = "top", "random", "elsewhere"


@dataclass(frozen=True, slots=True)
class Group:
    """The excerpts of one interval: "top", "12" (just below it) to "1", "random", or "elsewhere" (top tokens)."""

    interval: str
    excerpts: list[Excerpt]


@dataclass(frozen=True, slots=True)
class Shown:
    """A unit as the prompt shows it; the logits are quoted tokens."""

    groups: list[Group]
    top_logits: list[str]
    bottom_logits: list[str]
    reasoning: str = ""
    explanation: str = ""


class IntervalExplainer:
    """Shows the explain split by interval, strongest first, and the top and bottom logits where there are any."""

    name = "interval"
    version = 1

    def __init__(self, settings: ExplainerSettings) -> None:
        self.settings = settings
        template = load_template("interval/explain@1")
        examples = [_example(one, settings.scale) for one in template.examples(settings.few_shot)]
        self.prompt = Prompt.of(template, {"highest": settings.scale.highest, "examples": examples})

    def request(
        self, unit: UnitId, records: ExplainSplit, statistics: UnitStatistics, model: LanguageModel, seed: int
    ) -> ChatRequest:
        """What `explain` sends, for plans. Raises ValueError where the unit is silent in `records`."""
        return self._question(records, statistics).request(unit, model, seed)

    async def explain(
        self, unit: UnitId, records: ExplainSplit, statistics: UnitStatistics, model: LanguageModel, seed: int
    ) -> Explanation | Unscored:
        """See `autointerp.protocols.Explainer`."""
        if records.maximum <= 0:
            return SILENT
        return await self._question(records, statistics).ask(unit, model, seed)

    def _question(self, records: ExplainSplit, statistics: UnitStatistics) -> Question:
        scale, maximum = self.settings.scale, records.maximum
        pairs = [(_interval(one.stratum), record_excerpt(one, maximum, scale)) for one in records.records]
        shown = Shown(
            _groups(pairs),
            _quoted(token for token, _ in statistics.top_logits),
            _quoted(token for token, _ in statistics.bottom_logits),
        )
        return Question(f"{self.name}@{self.version}", self.prompt, {"unit": shown}, self.settings, parse_answer)


def _interval(stratum: Stratum) -> str:
    """Its name in the prompt: the top slice counts as the top interval, so slices 11 .. 0 below it are 12 .. 1."""
    if stratum in (Stratum.TOP, Stratum.SLICE_12):
        return _TOP
    if stratum.slice is not None:
        return str(stratum.slice + 1)
    return _RANDOM if stratum is Stratum.RANDOM else _ELSEWHERE


def _groups(pairs: Iterable[tuple[str, Excerpt]]) -> list[Group]:
    """Excerpts by interval, in a fixed order whatever the order of the records."""
    order = [_TOP, *(str(number) for number in range(12, 0, -1)), _RANDOM, _ELSEWHERE]
    by_interval: dict[str, list[Excerpt]] = {name: [] for name in order}
    for name, shown in pairs:
        by_interval[name].append(shown)
    return [Group(name, excerpts) for name, excerpts in by_interval.items() if excerpts]


def _example(unit: FewShotUnit, scale: Scale) -> Shown:
    return Shown(
        _groups((one.interval, few_shot_excerpt(one, unit.maximum, scale)) for one in unit.excerpts),
        _quoted(unit.top_logits),
        _quoted(unit.bottom_logits),
        unit.reasoning,
        unit.explanation,
    )


def _quoted(tokens: Iterable[str]) -> list[str]:
    return [json.dumps(show_token(token), ensure_ascii=False) for token in tokens]
