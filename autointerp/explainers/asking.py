"""What every explainer that asks an LLM once does alike: settings, levels, the request, the explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autointerp.prompting import Call, Excerpt, FewShotExcerpt, ParseFailure, Prompt, ask_and_read, excerpt
from autointerp.protocols import ChatReply, ChatRequest, LanguageModel
from autointerp.records import quantise, show_token
from autointerp.seeds import derive
from autointerp.types import ActivationRecord, Explanation, Reason, Scale, UnitId, Unscored

__all__ = ["SILENT", "ExplainerSettings", "Question", "few_shot_excerpt", "record_excerpt"]

SILENT = Unscored(Reason.NEVER_FIRES, "the unit is silent on every token of its explain split")


@dataclass(frozen=True, slots=True)
class ExplainerSettings:
    """Settings of an explainer.

    scale: levels shown (not raw); few_shot: how many example units the prompt holds; max_tokens: room for the reply;
    temperature: None where the model takes none; samples: replies asked for at most, where one cannot be read.
    """

    scale: Scale
    few_shot: int
    max_tokens: int
    temperature: float | None = 0.0
    samples: int = 1

    def sent(self) -> dict[str, Any]:
        """What shows in a request, for its provenance."""
        return {name: value for name, value in asdict(self).items() if name != "samples"}


def record_excerpt(record: ActivationRecord, maximum: float, scale: Scale) -> Excerpt:
    """A record of the explain split as a prompt shows it. `maximum`: of the explain split, raw, above 0."""
    levels = quantise(record.activations, maximum, scale).tolist()
    return excerpt(map(show_token, record.context.tokens), levels)


def few_shot_excerpt(example: FewShotExcerpt, maximum: float, scale: Scale) -> Excerpt:
    """A few-shot excerpt in the same form and on the same scale as the real ones."""
    return excerpt(map(show_token, example.tokens), quantise(example.activations, maximum, scale).tolist())


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one unit: the prompt, what fills it, and how the reply is read.

    method: "name@version" of the explainer.
    """

    method: str
    prompt: Prompt
    variables: Mapping[str, Any]
    settings: ExplainerSettings
    parse: Callable[[ChatReply], str | ParseFailure]

    def request(self, unit: UnitId, model: LanguageModel, seed: int) -> ChatRequest:
        """What is sent. Raises BadTemplate where the prompt lacks a variable."""
        return ChatRequest(
            model=model.model,
            messages=self.prompt.render(self.variables),
            max_tokens=self.settings.max_tokens,
            temperature=self.settings.temperature,
            seed=self._sampling_seed(unit, model, seed),
        )

    async def ask(self, unit: UnitId, model: LanguageModel, seed: int) -> Explanation | Unscored:
        """The explanation; a call that failed or a reply that does not fit is `Unscored`, never an explanation.

        Raises ProviderRefused, Unsupported and BudgetExceeded, which stop a run.
        """
        request = self.request(unit, model, seed)
        answer = await ask_and_read(model, request, self.settings.samples, self.parse)
        if isinstance(answer, Unscored):
            return answer
        call = Call(self.method, self.prompt.template, model, self.settings.sent(), answer.request.seed)
        return Explanation(unit, answer.value, self.method, call.provenance(answer.key, answer.reply))

    def _sampling_seed(self, unit: UnitId, model: LanguageModel, seed: int) -> int | None:
        """Sent only where the reply is sampled and the model takes a seed; 31 bits, as servers expect."""
        if self.settings.temperature == 0 or not model.capabilities().seed:
            return None
        return derive(seed, "explain", str(unit)) >> 33
