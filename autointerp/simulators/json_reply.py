"""The simulator for chat models without prompt log-probabilities: the levels come back as JSON, each with its token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from autointerp.prompting import Call, ParseFailure, all_of, ask_chat, load_template, parse_levels
from autointerp.protocols import ChatRequest, LanguageModel
from autointerp.records import quantise, show_token
from autointerp.simulators.settings import SimulatorSettings, batches, show_explanation
from autointerp.types import Context, Explanation, Simulation, Unscored

__all__ = ["JsonSimulator"]

# Room in the reply for a pair beside its token: brackets, commas, level. No token of a model is shorter than a byte.
_TOKENS_PER_PAIR = 8
_TOKENS_PER_REPLY = 64


class JsonSimulator:
    """Asks for [token, level] pairs and accepts them only where every token is the one that was asked for, in order."""

    name = "json"
    version = 1

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.template = load_template("simulate/json@1")

    def requests(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel
    ) -> list[ChatRequest]:
        """What `simulate` sends. What is the same for all contexts comes first, so that it can be cached."""
        parts = batches(contexts, self.settings.contexts_per_prompt)
        return [self._request(explanation, batch, model) for batch in parts]

    async def simulate(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel, seed: int
    ) -> Sequence[Simulation | Unscored]:
        """See `autointerp.protocols.Simulator`. No seed is sent: the temperature is meant to be 0 or the model's own.

        Raises ProviderRefused, Unsupported and BudgetExceeded, which stop a run.
        """
        parts = batches(contexts, self.settings.contexts_per_prompt)
        requests = self.requests(explanation, contexts, model)
        calls = (self._ask(explanation, *pair, model) for pair in zip(parts, requests, strict=True))
        return [outcome for batch in await all_of(calls) for outcome in batch]

    def _request(self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel) -> ChatRequest:
        shown = [[show_token(token) for token in one.tokens] for one in contexts]
        variables = {
            "highest": self.settings.scale.highest,
            "examples": self._examples(),
            "explanation": show_explanation(explanation.text),
            "excerpts": [{"tokens_json": _json(tokens)} for tokens in shown],
        }
        room = sum(_TOKENS_PER_PAIR + len(_json(token).encode()) for tokens in shown for token in tokens)
        return ChatRequest(
            model=model.model,
            messages=self.template.render(variables),
            max_tokens=_TOKENS_PER_REPLY + room,
            temperature=self.settings.temperature,
            json_mode=model.capabilities().json_mode,
        )

    def _examples(self) -> list[dict[str, Any]]:
        examples: list[dict[str, Any]] = []
        for unit in self.template.examples(self.settings.few_shot):
            shown = [[show_token(token) for token in one.tokens] for one in unit.excerpts]
            levels = [quantise(one.activations, unit.maximum, self.settings.scale).tolist() for one in unit.excerpts]
            reply = {
                str(number): [list(pair) for pair in zip(*one, strict=True)]
                for number, one in enumerate(zip(shown, levels, strict=True), start=1)
            }
            excerpts = [{"tokens_json": _json(tokens)} for tokens in shown]
            examples.append({"explanation": unit.explanation, "excerpts": excerpts, "reply_json": _json(reply)})
        return examples

    async def _ask(
        self, explanation: Explanation, contexts: Sequence[Context], request: ChatRequest, model: LanguageModel
    ) -> list[Simulation | Unscored]:
        answer = await ask_chat(model, request)
        if isinstance(answer, Unscored):
            return [answer] * len(contexts)
        key, reply = answer
        asked = [[show_token(token) for token in one.tokens] for one in contexts]
        levels = parse_levels(reply, asked, self.settings.scale.highest)
        call = Call(f"{self.name}@{self.version}", self.template, model, self.settings.sent())
        provenance = call.provenance(key, reply)
        return [
            one.unscored()
            if isinstance(one, ParseFailure)
            else Simulation(explanation.id, context.id, one, self.settings.scale, provenance)
            for context, one in zip(contexts, levels, strict=True)
        ]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
