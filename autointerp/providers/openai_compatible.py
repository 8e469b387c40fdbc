"""Any server that speaks OpenAI's protocol, through the official SDK: OpenAI, vLLM, llama.cpp, Ollama and others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autointerp.errors import BadInput
from autointerp.protocols import Capabilities, EchoRequest, Reply, Request
from autointerp.providers.openai_replies import read_chat, read_echo
from autointerp.providers.openai_server import OPENAI, OpenAIServer, chat_body
from autointerp.providers.prompt_formats import FORMATS, render
from autointerp.providers.refusals import no_prompt_logprobs, refuse_what_is_lacking
from autointerp.providers.settings import checked_address, checked_settings

__all__ = ["OpenAICompatibleProvider"]


class OpenAICompatibleProvider:
    """Conversations by /chat/completions; prompt log-probabilities by /completions where the server has `echo`.

    name: part of every ledger key, so give different services different names. key_variable: the environment variable
    that holds the key, read at the first call; "" for a server that asks for none. timeout_s: until an answer is whole.
    price_list: by whose prices it is billed, its address: that of a vendor is in the price list, others are not.

    The others say what cannot be seen from outside; a setting that the server is said not to obey is refused, never
    dropped. json_mode, seed, logprobs, temperature: whether it obeys these fields. length_field: the name of the limit
    on generated tokens, "" for OpenAI's own on its servers and the older "max_tokens" elsewhere. echo_format: how
    /completions is given a conversation whose prompt log-probabilities are asked for (see `prompt_formats`), "" where
    the server has no `echo`. echo_alternatives: how many log-probabilities the server lists for each token of a prompt.

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
        temperature: bool = True,
        length_field: str = "",
        echo_format: str = "",
        echo_alternatives: int = 20,
        context_tokens: int | None = None,
        single_token_ten: bool = False,
    ) -> None:
        if echo_format and echo_format not in FORMATS:
            raise BadInput(f"unknown echo_format {echo_format!r}: known are {', '.join(FORMATS)}")
        self.name = name
        self._server = OpenAIServer(name, checked_address(base_url), key_variable, timeout_s)
        self.price_list = base_url
        self.key_variable = key_variable
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
            temperature=temperature,
        )

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> OpenAICompatibleProvider:
        """From a job's settings. Raises BadJob for one that is unknown or of another type."""
        return cls(**checked_settings("openai_compatible", settings, cls.__init__))

    @property
    def account(self) -> str:
        """Whose limits it is under: server and name of the key."""
        return self._server.account

    def capabilities(self, model: str) -> Capabilities:
        """What the settings say of the server."""
        return self._capabilities

    def check(self, model: str) -> None:
        """Raises Authentication where the key is not there."""
        self._server.check()

    async def ask(self, request: Request) -> Reply:
        """The server's reply. Raises a ProviderError for all that goes wrong on the way."""
        if isinstance(request, EchoRequest):
            return await self._echo(request)
        refuse_what_is_lacking(self.name, request, self._capabilities)
        body = await self._server.post("/chat/completions", chat_body(request, self._length_field))
        return read_chat(body, request)

    async def close(self) -> None:
        await self._server.close()

    async def _echo(self, request: EchoRequest) -> Reply:
        if not self._echo_format:
            raise no_prompt_logprobs(self.name, request.model)
        prompt, start = render(self._echo_format, request.messages)
        body = await self._server.post(
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
