"""Any server that speaks OpenAI's protocol, through the official SDK: OpenAI, vLLM, llama.cpp, Ollama and others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autointerp.errors import Authentication, BadInput, Unsupported
from autointerp.protocols import Capabilities, ChatRequest, EchoRequest, Reply, Request
from autointerp.providers.openai_replies import read_chat, read_echo
from autointerp.providers.prompt_formats import FORMATS, render
from autointerp.providers.settings import checked_settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAICompatibleProvider"]

OPENAI = "https://api.openai.com/v1"


class OpenAICompatibleProvider:
    """Conversations by /chat/completions; prompt log-probabilities by /completions where the server has `echo`.

    name: part of every ledger key, so give different services different names. key_variable: the environment variable
    that holds the key, read at the first call; "" for a server that asks for none. The key is kept in the client alone:
    it appears in no message, repr or record.

    The others say what cannot be seen from outside; a setting that the server is said not to obey is refused, never
    dropped. json_mode, seed, logprobs: whether it obeys these fields. length_field: the name of the limit on generated
    tokens, "" for OpenAI's own on its servers and the older "max_tokens" elsewhere. echo_format: how /completions is
    given a conversation whose prompt log-probabilities are asked for (see `prompt_formats`), "" where the server has no
    `echo`. echo_alternatives: how many log-probabilities the server lists for each token of a prompt.

    Raises BadInput for an address that is none, or an unknown format.
    """

    def __init__(
        self,
        *,
        base_url: str = OPENAI,
        name: str = "openai_compatible",
        key_variable: str = "OPENAI_API_KEY",
        timeout_s: float = 120.0,
        json_mode: bool = True,
        seed: bool = True,
        logprobs: bool = True,
        length_field: str = "",
        echo_format: str = "",
        echo_alternatives: int = 20,
        context_tokens: int | None = None,
        single_token_ten: bool = False,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise BadInput(f"{base_url!r} is not the address of a server: it begins with http:// or https://")
        if echo_format and echo_format not in FORMATS:
            raise BadInput(f"unknown echo_format {echo_format!r}: known are {', '.join(FORMATS)}")
        self.name = name
        self._base_url = base_url
        self._key_variable = key_variable
        self._timeout_s = timeout_s
        self._length_field = length_field or ("max_completion_tokens" if base_url == OPENAI else "max_tokens")
        self._echo_format = echo_format
        self._echo_alternatives = echo_alternatives
        self._capabilities = Capabilities(
            prompt_logprobs=bool(echo_format),
            generated_logprobs=logprobs,
            json_mode=json_mode,
            seed=seed,
            context_tokens=context_tokens,
            single_token_ten=single_token_ten,
        )
        self._client: AsyncOpenAI | None = None

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> OpenAICompatibleProvider:
        """From a job's settings. Raises BadJob for one that is unknown or of another type."""
        return cls(**checked_settings("openai_compatible", settings, cls.__init__))

    @property
    def account(self) -> str:
        """Whose limits it is under: server and name of the key. The key itself is no part of it."""
        return f"{self._base_url} {self._key_variable}".rstrip()

    def capabilities(self, model: str) -> Capabilities:
        """What the settings say of the server."""
        return self._capabilities

    async def ask(self, request: Request) -> Reply:
        """The server's reply. Raises a ProviderError for all that goes wrong on the way."""
        if isinstance(request, EchoRequest):
            return await self._echo(request)
        body = await self._post("/chat/completions", self._chat_body(request))
        return read_chat(body, request)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _echo(self, request: EchoRequest) -> Reply:
        if not self._echo_format:
            raise Unsupported(
                f"{self.name} gives no log-probabilities of prompts: set echo_format if the server has `echo`, take a "
                "model in process, or a simulator that needs none"
            )
        prompt, start = render(self._echo_format, request.messages)
        body = await self._post(
            "/completions",
            {
                "model": request.model,
                "prompt": prompt,
                "max_tokens": 1,
                "temperature": 0.0,
                "echo": True,
                "logprobs": self._echo_alternatives,
            },
        )
        return read_echo(body, request, start)

    def _chat_body(self, request: ChatRequest) -> dict[str, Any]:
        self._refuse_what_is_not_obeyed(request)
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            self._length_field: request.max_tokens,
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
            "a seed": (request.seed is not None, self._capabilities.seed),
            "JSON mode": (request.json_mode, self._capabilities.json_mode),
            "log-probabilities": (bool(request.top_logprobs), self._capabilities.generated_logprobs),
        }
        for what, (asked, obeyed) in wanted.items():
            if asked and not obeyed:
                raise Unsupported(f"{self.name} does not offer {what}: ask without it, or take another provider")

    async def _post(self, path: str, body: dict[str, Any]) -> str:
        """The text of a successful response, with the key taken out should the server have repeated it.

        Through the SDK's own transport, but as raw text: its typed replies take anything for a reply.
        """
        import httpx2

        from autointerp.providers.openai_errors import translated, without

        client = self._connected()
        secret = client.api_key if self._key_variable else ""
        with translated(secret):
            response = await client.post(path, body=body, cast_to=httpx2.Response)
        return without(secret, response.text)

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                api_key=self._key(), base_url=self._base_url, max_retries=0, timeout=self._timeout_s
            )
        return self._client

    def _key(self) -> str:
        if not self._key_variable:
            return "none"
        key = os.environ.get(self._key_variable, "")
        if not key:
            raise Authentication(f"no key for {self.name}: set the environment variable {self._key_variable}")
        return key
