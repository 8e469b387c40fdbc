"""The simulator for chat models without prompt log-probabilities: the levels come back as JSON, each with its token.

`contexts_per_prompt` contexts share a call, and with it the instructions and examples, which are most of a prompt. One
is how the protocols are published; more is cheaper and not the same measurement: a model may judge a context by
comparison with its neighbours, or by its place in the prompt; its attention, and the exactness of its copying, fall
with length; and a call that fails takes all its contexts with it. What can be done against it is done here: tokens
are numbered through the whole prompt, and the model is told that the texts have nothing to do with one another. The
contexts are packed in the order of their ids, which are hashes: in the order of the split the contexts in which a unit
fires would come in one call and the random ones in another, and that the texts of a call resemble one another would
tell the model what it is to find out. Own explanations and controls meet the same packs in the same order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, count
from typing import Any

from autointerp.prompting import Call, ParseFailure, Prompt, all_of, ask_chat, load_template, parse_levels, sampled
from autointerp.protocols import ChatReply, ChatRequest, LanguageModel
from autointerp.records import quantise, show_token
from autointerp.simulators.settings import SimulatorSettings, packs, show_explanation, unpacked
from autointerp.types import Context, Explanation, Simulation, Unscored

__all__ = ["JsonSimulator"]

# Room in the reply for a level beside its token: quotes, colon, comma, level, spaces. No tokenizer writes more tokens
# than bytes.
_TOKENS_PER_LEVEL = 8
_TOKENS_PER_REPLY = 64


class JsonSimulator:
    """Asks for {token: level} and accepts it only where every token is the one that was asked for, in order."""

    name = "json"
    version = 2
    generates = True

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.template = load_template("simulate/json@2")
        self.prompt = Prompt.of(self.template, {"highest": settings.scale.highest, "examples": self._examples()})

    def requests(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel
    ) -> list[ChatRequest]:
        """What `simulate` sends. What is the same for all contexts comes first, so that it can be cached."""
        return [self._request(explanation, pack, model) for pack in packs(contexts, self.settings.contexts_per_prompt)]

    async def simulate(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel, seed: int
    ) -> Sequence[Simulation | Unscored]:
        """See `autointerp.protocols.Simulator`. No seed is sent: the temperature is meant to be 0 or the model's own.

        Raises ProviderRefused, Unsupported and BudgetExceeded, which stop a run.
        """
        packed = packs(contexts, self.settings.contexts_per_prompt)
        return unpacked(contexts, packed, await all_of(self._ask(explanation, pack, model) for pack in packed))

    def _request(self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel) -> ChatRequest:
        labels = _labels([one.tokens for one in contexts])
        excerpts = [{"tokens_json": _json(one)} for one in labels]
        messages = self.prompt.render({"explanation": show_explanation(explanation.text), "excerpts": excerpts})
        room = sum(_TOKENS_PER_LEVEL + len(_json(label).encode()) for one in labels for label in one)
        return ChatRequest(
            model=model.model,
            messages=messages,
            max_tokens=_TOKENS_PER_REPLY + room,
            temperature=self.settings.temperature,
            json_mode=model.capabilities().json_mode,
        )

    def _examples(self) -> list[dict[str, Any]]:
        examples: list[dict[str, Any]] = []
        for unit in self.template.examples(self.settings.few_shot):
            labels = _labels([one.tokens for one in unit.excerpts])
            levels = [quantise(one.activations, unit.maximum, self.settings.scale).tolist() for one in unit.excerpts]
            reply = dict(zip(chain(*labels), chain(*levels), strict=True))
            excerpts = [{"tokens_json": _json(one)} for one in labels]
            examples.append({"explanation": unit.explanation, "excerpts": excerpts, "reply_json": _json(reply)})
        return examples

    async def _ask(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel
    ) -> list[Simulation | Unscored]:
        """One outcome per context. Where some of a reply cannot be read, that much of another reply is taken."""
        request = self._request(explanation, contexts, model)
        found: list[Simulation | Unscored] = []
        for number in range(self.settings.samples):
            answer = await ask_chat(model, sampled(request, number))
            if isinstance(answer, Unscored):
                return found or [answer] * len(contexts)
            told = self._read(explanation, contexts, *answer, model)
            found = (
                [
                    new if isinstance(old, Unscored) and isinstance(new, Simulation) else old
                    for old, new in zip(found, told, strict=True)
                ]
                if found
                else told
            )
            if not any(isinstance(one, Unscored) for one in found):
                break
        return found

    def _read(
        self, explanation: Explanation, contexts: Sequence[Context], key: str, reply: ChatReply, model: LanguageModel
    ) -> list[Simulation | Unscored]:
        levels = parse_levels(reply, _labels([one.tokens for one in contexts]), self.settings.scale.highest)
        call = Call(f"{self.name}@{self.version}", self.template, model, self.settings.sent())
        provenance = call.provenance(key, reply)
        return [
            one.unscored()
            if isinstance(one, ParseFailure)
            else Simulation(explanation.id, context.id, one, self.settings.scale, provenance)
            for context, one in zip(contexts, levels, strict=True)
        ]


def _labels(texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each token as the prompt shows it and the reply names it: its number, counted through all texts, and itself."""
    number = count()
    return [[f"{next(number)}:{show_token(token)}" for token in tokens] for tokens in texts]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
