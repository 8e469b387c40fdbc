"""OpenAI's own service, api.openai.com: what each family of its models takes, over the same wire as other servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autointerp.errors import Unsupported
from autointerp.protocols import Capabilities, ChatRequest, EchoRequest, Reply, Request
from autointerp.providers.batch.openai_batches import OpenAIBatches
from autointerp.providers.openai_replies import read_chat
from autointerp.providers.openai_server import OPENAI, OpenAIServer, chat_body
from autointerp.providers.refusals import no_prompt_logprobs, refuse_what_is_lacking
from autointerp.providers.settings import checked_address, checked_settings, named

__all__ = ["FAMILIES", "UNKNOWN", "OpenAIProvider", "family_of"]

_ROOM = 8192  # for reasoning; a limit, so what is not used is not billed

# Sources: the SDK's types (`chat.completion_create_params`: stop is not for o3 and o4-mini, max_tokens not for the
# o-series; `shared.chat_model`: the names) and OpenAI's guide to reasoning models (no temperature, no logprobs).
# Whether reasoning models obey a seed is nowhere said, so none is sent.
_CHAT = Capabilities(generated_logprobs=True, json_mode=True, seed=True, prompt_caching=True)
_REASONING = Capabilities(json_mode=True, temperature=False, stop=False, prompt_caching=True, reasoning_room=_ROOM)
UNKNOWN = Capabilities(temperature=False, stop=False, reasoning_room=_ROOM)
"""A model of no known family: it is asked for nothing special, and has room to reason."""

FAMILIES: Mapping[str, Capabilities] = {
    r"o[134](-.+)?": _REASONING,
    r"gpt-[56]([.-].+)?": _REASONING,
    r"(chat)?gpt-4o(?!.*(audio|search|realtime|transcribe|tts)).*|gpt-4\.1.*": _CHAT,
    r"gpt-4-(turbo|1106|0125).*|gpt-3\.5-turbo(?!.*(instruct|0301|0613)).*": replace(_CHAT, prompt_caching=False),
    # From before JSON mode.
    r"gpt-4(-32k)?(-0314|-0613)?|gpt-3\.5-turbo(-16k)?-(0301|0613)": replace(
        _CHAT, json_mode=False, prompt_caching=False
    ),
}
"""Patterns of whole model names, and what the models take. The first that fits counts."""


def family_of(model: str) -> Capabilities:
    """What a model takes, by its name; a fine-tuned model (ft:BASE:...) takes what its base does."""
    base = model.split(":")[1] if model.startswith("ft:") and model.count(":") > 1 else model
    return next((can for pattern, can in FAMILIES.items() if re.fullmatch(pattern, base)), UNKNOWN)


class OpenAIProvider:
    """Conversations by /chat/completions at OpenAI itself. For other servers see `OpenAICompatibleProvider`.

    name, key_variable, timeout_s: as there. base_url: another address of the same service (a region's, a proxy's).
    reasoning_effort: sent where given ("minimal", "low", ...). The others correct what `FAMILIES` says of the model:
    reasoning_room: tokens that a reasoning model may spend before its answer, added to a request's own limit (0 with
    reasoning_effort = "none"); temperature, json_mode, seed, logprobs, stop: whether it takes these fields.

    A request for what the model does not take is refused with Unsupported. Raises BadInput for an address that is none.
    """

    def __init__(
        self,
        *,
        base_url: str = OPENAI,
        name: str = "openai",
        key_variable: str = "OPENAI_API_KEY",
        timeout_s: float = 600.0,
        reasoning_effort: str = "",
        reasoning_room: int | None = None,
        temperature: bool | None = None,
        json_mode: bool | None = None,
        seed: bool | None = None,
        logprobs: bool | None = None,
        stop: bool | None = None,
        context_tokens: int | None = None,
    ) -> None:
        self.name = named(name, {"reasoning_effort": reasoning_effort, "reasoning_room": reasoning_room})
        self._server = OpenAIServer(name, checked_address(base_url), key_variable, timeout_s)
        self._effort = reasoning_effort
        corrections = {
            "reasoning_room": 0 if reasoning_effort == "none" and reasoning_room is None else reasoning_room,
            "temperature": temperature,
            "json_mode": json_mode,
            "seed": seed,
            "generated_logprobs": logprobs,
            "stop": stop,
            "context_tokens": context_tokens,
        }
        self._corrections: dict[str, Any] = {key: value for key, value in corrections.items() if value is not None}

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> OpenAIProvider:
        """From a job's settings. Raises BadJob for one that is unknown or of another type."""
        return cls(**checked_settings("openai", settings, cls.__init__))

    @property
    def account(self) -> str:
        """Whose limits it is under: server and name of the key."""
        return self._server.account

    @property
    def key_variable(self) -> str:
        """The environment variable with the key."""
        return self._server.key_variable

    @property
    def price_list(self) -> str:
        """By whose prices it is billed, whatever the address."""
        return "openai"

    def capabilities(self, model: str) -> Capabilities:
        """What the model's family takes, corrected by the settings."""
        return replace(family_of(model), **self._corrections)

    def check(self, model: str) -> None:
        """Raises Authentication where the key is not there."""
        self._server.check()

    async def ask(self, request: Request) -> Reply:
        """The reply. Raises a ProviderError for all that goes wrong on the way."""
        chat, body = self._chat(request)
        return read_chat(await self._server.post("/chat/completions", body), chat)

    def batches(self) -> OpenAIBatches:
        """The vendor's Batch API for the same requests."""
        return OpenAIBatches(self._server, self._chat)

    def _chat(self, request: Request) -> tuple[ChatRequest, dict[str, Any]]:
        """What is sent. Raises Unsupported for a request that is not sent."""
        if isinstance(request, EchoRequest):
            raise no_prompt_logprobs(self.name, request.model)
        can = self.capabilities(request.model)
        refuse_what_is_lacking(self.name, request, can)
        body = chat_body(request, "max_completion_tokens", can.reasoning_room)
        if self._effort:
            body["reasoning_effort"] = self._effort_for(request.model)
        return request, body

    async def close(self) -> None:
        await self._server.close()

    def _effort_for(self, model: str) -> str:
        if not family_of(model).reasoning_room:
            raise Unsupported(f"{model} does not reason: leave reasoning_effort out, or take a model that does")
        return self._effort
