"""The all-at-once simulator of LMEN (step 2): one pass over the text, with the level of every token still unknown.

Every token is followed by a placeholder, and the model's distribution over the levels at the placeholder's place is
what it would have written there. The value predicted is the distribution's mean. It needs log-probabilities of a
prompt: a model in process, or a server that echoes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autointerp.errors import BadTemplate, Unsupported
from autointerp.prompting import Call, Excerpt, Prompt, all_of, ask_echo, excerpt, load_template
from autointerp.protocols import EchoReply, EchoRequest, LanguageModel
from autointerp.records import quantise, show_token
from autointerp.simulators.settings import SimulatorSettings, batches, packs, show_explanation, unpacked
from autointerp.types import Context, Explanation, FloatArray, Provenance, Reason, Scale, Simulation, Unscored

__all__ = ["AllAtOnceSimulator", "distribution"]

PLACEHOLDER = "unknown"
_MISFIT = Unscored(Reason.BAD_REPLY, "the reply has another number of places or levels than was asked for")


class AllAtOnceSimulator:
    """Reads the levels of all tokens of `contexts_per_prompt` contexts from one pass over them."""

    name = "all_at_once"
    version = 1
    generates = False

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.template = load_template("simulate/all_at_once@1")
        self.prompt = Prompt.of(
            self.template,
            {"highest": settings.scale.highest, "placeholder": PLACEHOLDER, "examples": self._examples()},
        )

    def check(self, model: LanguageModel) -> None:
        """Raises Unsupported, naming what to do instead, where the model cannot serve this simulator."""
        can = model.capabilities()
        if not can.prompt_logprobs:
            raise Unsupported(
                f"{model.provider} gives no log-probabilities of a prompt for {model.model}, which the simulator "
                f'{self.name} needs: set simulator = "json", or use a model in process (provider "local") or a '
                "server that echoes prompts with log-probabilities (vLLM)"
            )
        if self.settings.scale is Scale.LEVELS_10 and not can.single_token_ten:
            raise Unsupported(
                f'{model.model} writes "10" as two tokens, which have no one probability: set scale = "0-9"'
            )

    def requests(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel
    ) -> list[EchoRequest]:
        """What `simulate` sends. What is the same for all contexts comes first, so that it can be cached."""
        return [self._request(explanation, pack, model) for pack in self._packs(contexts)]

    async def simulate(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel, seed: int
    ) -> Sequence[Simulation | Unscored]:
        """See `autointerp.protocols.Simulator`. Nothing is drawn, so the seed is not used.

        Raises ProviderRefused, Unsupported and BudgetExceeded, which stop a run.
        """
        packed = self._packs(contexts)
        requests = [self._request(explanation, pack, model) for pack in packed]
        calls = (self._ask(explanation, *pair, model) for pair in zip(packed, requests, strict=True))
        return unpacked(contexts, packed, await all_of(calls))

    def _packs(self, contexts: Sequence[Context]) -> list[Sequence[Context]]:
        """One call for all takes them in the order of the split, as TM does (it shuffles them)."""
        size = self.settings.contexts_per_prompt
        return packs(contexts, size) if 1 < size < len(contexts) else list(batches(contexts, size))

    def _request(self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel) -> EchoRequest:
        highest = self.settings.scale.highest
        excerpts = [excerpt(map(show_token, one.tokens), [PLACEHOLDER] * len(one)) for one in contexts]
        messages = self.prompt.render({"explanation": show_explanation(explanation.text), "excerpts": excerpts})
        # No token holds a tab (`excerpt` sees to it), so each tab of the last message is where a level is missing.
        slots = tuple(place + 1 for place, character in enumerate(messages[-1].content) if character == "\t")
        if len(slots) != sum(map(len, contexts)):
            raise BadTemplate(f"prompt {self.template.reference}: it must hold one tab for each token, and no other")
        return EchoRequest(model.model, messages, slots, tuple(map(str, range(highest + 1))))

    def _examples(self) -> list[dict[str, str | list[Excerpt]]]:
        examples: list[dict[str, str | list[Excerpt]]] = []
        for unit in self.template.examples(self.settings.few_shot):
            excerpts = []
            for one in unit.excerpts:
                levels = quantise(one.activations, unit.maximum, self.settings.scale).tolist()
                known = [PLACEHOLDER] * one.hidden + levels[one.hidden :]
                excerpts.append(excerpt(map(show_token, one.tokens), known))
            examples.append({"explanation": unit.explanation, "excerpts": excerpts})
        return examples

    async def _ask(
        self, explanation: Explanation, contexts: Sequence[Context], request: EchoRequest, model: LanguageModel
    ) -> list[Simulation | Unscored]:
        answer = await ask_echo(model, request)
        if isinstance(answer, Unscored):
            return [answer] * len(contexts)
        key, reply = answer
        n_levels = self.settings.scale.highest + 1
        if len(reply.logprobs) != sum(map(len, contexts)) or any(len(row) != n_levels for row in reply.logprobs):
            return [_MISFIT] * len(contexts)
        call = Call(f"{self.name}@{self.version}", self.template, model, self.settings.sent())
        return self._read(explanation, contexts, reply, call.provenance(key, reply))

    def _read(
        self, explanation: Explanation, contexts: Sequence[Context], reply: EchoReply, provenance: Provenance
    ) -> list[Simulation | Unscored]:
        outcomes: list[Simulation | Unscored] = []
        start = 0
        for context in contexts:
            rows = distribution(reply.logprobs[start : start + len(context)])
            start += len(context)
            if isinstance(rows, Unscored):
                outcomes.append(rows)
                continue
            expected = rows @ np.arange(rows.shape[1], dtype=np.float64)
            scale = self.settings.scale
            outcomes.append(Simulation(explanation.id, context.id, expected, scale, provenance, rows))
        return outcomes


def distribution(logprobs: Sequence[Sequence[float | None]]) -> FloatArray | Unscored:
    """[tokens, levels] probabilities, each row renormalised over the levels (LMEN, code).

    logprobs [tokens][levels]: nats, None for a level that was not among the alternatives the server reports, which gets
    probability 0. PARSE_FAILURE where no level of some token was: the model meant to write something else there.
    """
    table = np.array([[-np.inf if value is None else value for value in row] for row in logprobs], dtype=np.float64)
    best = table.max(axis=1, keepdims=True)
    if not np.isfinite(best).all():
        place = int(np.flatnonzero(~np.isfinite(best[:, 0]))[0])
        return Unscored(Reason.PARSE_FAILURE, f"no level was among the likely next tokens after token {place}")
    odds = np.exp(table - best)
    rows: FloatArray = odds / odds.sum(axis=1, keepdims=True)
    return rows
