"""Anthropic's service, through the official SDK."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from autointerp.protocols import Capabilities, EchoRequest, Reply, Request
from autointerp.providers.anthropic_replies import read_message
from autointerp.providers.anthropic_requests import message_body
from autointerp.providers.batch.anthropic_batches import AnthropicBatches
from autointerp.providers.keys import NO_SECRET, Secret, secret_of
from autointerp.providers.refusals import no_prompt_logprobs, refuse_what_is_lacking
from autointerp.providers.settings import checked_address, checked_settings, named, shown_address
from autointerp.providers.vendor import Asked, json_bytes, text_of

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic

__all__ = ["AnthropicProvider"]

_ROOM = 8192  # for thinking; a limit, so what is not used is not billed
# Claude up to 4.x thinks only when it is asked to; later models, and those not known here, unless they are told not to.
_THINKS_WHEN_ASKED = re.compile(r"claude-([123]([.-].*)?|instant.*|(haiku|sonnet|opus)-4(-.*)?)")
# Tokens from which a beginning is cached, as the vendor documents them; of models not known here the most of these, so
# that no plan promises a cache that may not be there. Sonnet 4.6 was seen to cache from 2,048, not from the documented
# 1,024 (issue 1194 of the SDK's repository).
_CACHED_FROM = (
    (re.compile(r"claude-(3-opus|3-[57]-sonnet|sonnet-4-(0|5|2025)|opus-4-(0|1|2025)).*"), 1024),
    (re.compile(r"claude-(3-haiku|3-5-haiku|sonnet-4-6).*"), 2048),
)
_CACHED_FROM_AT_MOST = 4096
# The last version of the API in which a request may have a temperature; the SDK sends a later one.
_VERSION_WITH_TEMPERATURE = "2023-06-01"


class AnthropicProvider:
    """Conversations by /v1/messages. There are no log-probabilities, no seed and no JSON mode: they are refused.

    name: part of every ledger key; key_variable: the environment variable that holds the key, read at the first call,
    "" for a server that asks for none. The key is kept in the client alone: it appears in no message, repr or record.
    timeout_s: until an answer is whole.

    thinking, effort: sent where given; which values a model takes is the vendor's to say. thinking_room: tokens that a
    model which thinks may spend before its answer, added to a request's own limit; None: enough where it thinks.
    temperature: true for a model that takes one (Claude 4.6 and earlier); such requests are made under the older
    version of the API that still has the field. Raises BadInput for an address that is none.
    """

    def __init__(
        self,
        *,
        base_url: str = "https://api.anthropic.com",
        name: str = "anthropic",
        key_variable: str = "ANTHROPIC_API_KEY",
        timeout_s: float = 600.0,
        thinking: Literal["", "disabled", "between_tools", "adaptive"] = "",
        effort: str = "",
        thinking_room: int | None = None,
        temperature: bool = False,
        context_tokens: int | None = None,
    ) -> None:
        self.name = named(name, {"thinking": thinking, "effort": effort, "thinking_room": thinking_room})
        self._base_url = checked_address(base_url)
        self.key_variable = key_variable
        self._timeout_s = timeout_s
        self._thinking = thinking
        self._effort = effort
        self._thinking_room = thinking_room
        self._temperature = temperature
        self._context_tokens = context_tokens
        self._secret = NO_SECRET
        self._client: AsyncAnthropic | None = None

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> AnthropicProvider:
        """From a job's settings. Raises BadJob for one that is unknown or of another type."""
        return cls(**checked_settings("anthropic", settings, cls.__init__))

    @property
    def account(self) -> str:
        """Whose limits it is under: server and name of the key. The key itself is no part of it."""
        return f"{self._base_url} {self.key_variable}".rstrip()

    @property
    def price_list(self) -> str:
        """By whose prices it is billed, whatever the address."""
        return "anthropic"

    def capabilities(self, model: str) -> Capabilities:
        """What the vendor's models take, and what the settings say of this one."""
        return Capabilities(
            context_tokens=self._context_tokens,
            temperature=self._temperature,
            prompt_caching=True,
            cached_from=next((least for names, least in _CACHED_FROM if names.fullmatch(model)), _CACHED_FROM_AT_MOST),
            reasoning_room=self._room(model),
        )

    def check(self, model: str) -> None:
        """Raises Authentication where the key is not there."""
        self._key()

    async def ask(self, request: Request) -> Reply:
        """The reply. Raises a ProviderError for all that goes wrong on the way."""
        return read_message(await self._post("/v1/messages", self._message(request)))

    def batches(self) -> AnthropicBatches:
        """The vendor's Message Batches for the same requests."""
        return AnthropicBatches(self._post, self._get, self._message, shown_address(self._base_url, "/v1/messages"))

    def _message(self, request: Request) -> dict[str, Any]:
        """What is sent. Raises Unsupported for a request that is not sent."""
        if isinstance(request, EchoRequest):
            raise no_prompt_logprobs(self.name, request.model)
        refuse_what_is_lacking(self.name, request, self.capabilities(request.model))
        return message_body(request, self._room(request.model), self._thinking, self._effort)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _room(self, model: str) -> int:
        if self._thinking_room is not None:
            return self._thinking_room
        asked = self._thinking == "adaptive"
        quiet = self._thinking == "disabled" or _THINKS_WHEN_ASKED.fullmatch(model) is not None
        return _ROOM if asked or not quiet else 0

    async def _post(self, path: str, body: dict[str, Any]) -> str:
        import httpx2

        return await self._text(path, self._connected().post(path, content=json_bytes(body), cast_to=httpx2.Response))

    async def _get(self, path: str, query: Mapping[str, object] | None = None) -> str:
        import httpx2

        call = self._connected().get(path, cast_to=httpx2.Response, options={"params": dict(query or {})})
        return await self._text(path, call)

    async def _text(self, path: str, call: Awaitable[httpx2.Response]) -> str:
        from autointerp.providers.anthropic_errors import SDK

        return await text_of(call, SDK, Asked(shown_address(self._base_url, path), self._secret, self._timeout_s))

    def _key(self) -> Secret:
        return secret_of(self.key_variable, self.name) if self.key_variable else NO_SECRET

    def _connected(self) -> AsyncAnthropic:
        if self._client is None:
            from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

            from autointerp.providers.connections import http_client, until_whole

            self._secret = self._key()
            self._client = AsyncAnthropic(
                api_key=self._secret.reveal() or "none",
                base_url=self._base_url,
                max_retries=0,
                timeout=until_whole(self._timeout_s),
                http_client=http_client(DefaultAsyncHttpxClient),
                default_headers={"anthropic-version": _VERSION_WITH_TEMPERATURE} if self._temperature else None,
            )
        return self._client
