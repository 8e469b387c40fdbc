"""Any server that speaks OpenAI's protocol, through the official SDK: OpenAI, vLLM, llama.cpp, Ollama and others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autointerp.errors import Authentication, Unsupported
from autointerp.protocols import Capabilities, ChatRequest, EchoRequest, Reply, Request
from autointerp.providers.openai_errors import translated
from autointerp.providers.openai_replies import read_chat, read_echo
from autointerp.providers.prompt_formats import render

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAICompatibleProvider", "ServerSettings"]

OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server can do, as far as it cannot be seen from outside.

    length_field: the name of the limit on generated tokens; OpenAI's newer models know "max_completion_tokens" only,
    other servers may know "max_tokens" only. echo_format: how /completions is given a conversation whose prompt
    log-probabilities are asked for (see `prompt_formats`); None where the server has no `echo`. echo_alternatives: how
    many log-probabilities the server lists for each prompt token. json_mode, seed, logprobs: whether it obeys these
    fields.
    """

    length_field: str = "max_completion_tokens"
    echo_format: str | None = None
    echo_alternatives: int = 20
    json_mode: bool = True
    seed: bool = True
    logprobs: bool = True
    context_tokens: int | None = None
    single_token_ten: bool = False


class OpenAICompatibleProvider:
    """Conversations by /chat/completions; prompt log-probabilities by /completions where the server has `echo`.

    name: part of every ledger key, so give different services different names. key_variable: the environment variable
    that holds the key, read at the first call; None for a server that asks for none. The key is kept in the client
    alone: it appears in no message, repr or record. A setting the server is said not to obey is refused, never dropped.
    """

    def __init__(
        self,
        base_url: str = OPENAI,
        *,
        name: str = "openai_compatible",
        key_variable: str | None = "OPENAI_API_KEY",
        timeout_s: float = 120.0,
        settings: ServerSettings | None = None,
    ) -> None:
        self.name = name
        self._base_url = base_url
        self._key_variable = key_variable
        self._timeout_s = timeout_s
        self._settings = settings or ServerSettings()
        self._client: AsyncOpenAI | None = None

    def capabilities(self, model: str) -> Capabilities:
        settings = self._settings
        return Capabilities(
            prompt_logprobs=settings.echo_format is not None,
            generated_logprobs=settings.logprobs,
            json_mode=settings.json_mode,
            seed=settings.seed,
            context_tokens=settings.context_tokens,
            single_token_ten=settings.single_token_ten,
        )

    async def ask(self, request: Request) -> Reply:
        """The server's reply. Raises a ProviderError for all that goes wrong on the way."""
        if isinstance(request, EchoRequest):
            return await self._echo(request)
        body = await self._post("chat", self._chat_body(request))
        return read_chat(body, request)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _echo(self, request: EchoRequest) -> Reply:
        if self._settings.echo_format is None:
            raise Unsupported(
                f"{self.name} gives no log-probabilities of prompts: set echo_format if the server has `echo`, take a "
                "model in process, or a simulator that needs none"
            )
        prompt, start = render(self._settings.echo_format, request.messages)
        body = await self._post(
            "completions",
            {
                "model": request.model,
                "prompt": prompt,
                "max_tokens": 1,
                "temperature": 0.0,
                "echo": True,
                "logprobs": self._settings.echo_alternatives,
            },
        )
        return read_echo(body, request, start)

    def _chat_body(self, request: ChatRequest) -> dict[str, Any]:
        self._refuse_what_is_not_obeyed(request)
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            self._settings.length_field: request.max_tokens,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.json_mode:
            body["response_format"] = {"type": "json_object"}
        if request.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        return body

    def _refuse_what_is_not_obeyed(self, request: ChatRequest) -> None:
        wanted = {
            "a seed": (request.seed is not None, self._settings.seed),
            "JSON mode": (request.json_mode, self._settings.json_mode),
            "log-probabilities": (bool(request.top_logprobs), self._settings.logprobs),
        }
        for what, (asked, obeyed) in wanted.items():
            if asked and not obeyed:
                raise Unsupported(f"{self.name} does not offer {what}: ask without it, or take another provider")

    async def _post(self, endpoint: str, body: dict[str, Any]) -> str:
        """The text of a successful response. `body` goes through the SDK as it is: all fields are ours."""
        client = self._connected()
        completions = client.chat.completions if endpoint == "chat" else client.completions
        extra = {name: body.pop(name) for name in [*body] if name not in ("model", "messages", "prompt")}
        with translated(client.api_key):
            response = await completions.with_raw_response.create(**body, extra_body=extra)
            return str(response.text)

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                api_key=self._key(), base_url=self._base_url, max_retries=0, timeout=self._timeout_s
            )
        return self._client

    def _key(self) -> str:
        if self._key_variable is None:
            return "none"
        key = os.environ.get(self._key_variable, "")
        if not key:
            raise Authentication(f"no key for {self.name}: set the environment variable {self._key_variable}")
        return key
