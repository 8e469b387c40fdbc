"""A connection to one server of OpenAI's protocol through the official SDK, and a conversation in its wire format."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from autointerp.protocols import ChatRequest
from autointerp.providers.keys import NO_SECRET, Secret, secret_of
from autointerp.providers.settings import shown_address
from autointerp.providers.vendor import Asked, json_bytes, text_of

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

__all__ = ["OPENAI", "OpenAIServer", "chat_body"]

OPENAI = "https://api.openai.com/v1"


class OpenAIServer:
    """Posts to one server. The key is kept in the client alone: it appears in no message, repr or record.

    name: of the provider, for messages; key_variable: the environment variable that holds the key, read at the first
    call, "" for a server that asks for none; timeout_s: until an answer is whole.
    """

    def __init__(self, name: str, base_url: str, key_variable: str, timeout_s: float) -> None:
        self._name = name
        self._base_url = base_url
        self.key_variable = key_variable
        self._timeout_s = timeout_s
        self._secret = NO_SECRET
        self._client: AsyncOpenAI | None = None

    @property
    def account(self) -> str:
        """Whose limits it is under: server and name of the key. The key itself is no part of it."""
        return f"{self._base_url} {self.key_variable}".rstrip()

    def check(self) -> None:
        """Raises Authentication where the server asks for a key and the environment holds none."""
        self._key()

    async def post(self, path: str, body: dict[str, Any]) -> str:
        """The text of a successful response. Raises a ProviderError for all that goes wrong on the way."""
        import httpx2

        return await self._text(path, self._connected().post(path, content=json_bytes(body), cast_to=httpx2.Response))

    async def get(self, path: str, query: Mapping[str, object] | None = None) -> str:
        """As `post`, of a resource that is already there."""
        import httpx2

        call = self._connected().get(path, cast_to=httpx2.Response, options={"params": dict(query or {})})
        return await self._text(path, call)

    async def upload(self, name: str, content: bytes, fields: dict[str, Any]) -> str:
        """As `post`, of a file with its fields."""
        import httpx2

        call = self._connected().post(
            "/files",
            body=fields,
            files={"file": (name, content)},
            options={"headers": {"Content-Type": "multipart/form-data"}},  # the client adds the boundary
            cast_to=httpx2.Response,
        )
        return await self._text("/files", call)

    def address(self, path: str) -> str:
        """Where a path is on this server, as messages show it."""
        return shown_address(self._base_url, path)

    async def _text(self, path: str, call: Awaitable[httpx2.Response]) -> str:
        from autointerp.providers.openai_errors import SDK

        return await text_of(call, SDK, Asked(self.address(path), self._secret, self._timeout_s))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _key(self) -> Secret:
        return secret_of(self.key_variable, self._name) if self.key_variable else NO_SECRET

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient

            from autointerp.providers.connections import http_client, until_whole

            self._secret = self._key()
            self._client = AsyncOpenAI(
                api_key=self._secret.reveal() or "none",
                base_url=self._base_url,
                max_retries=0,
                timeout=until_whole(self._timeout_s),
                http_client=http_client(DefaultAsyncHttpxClient),
            )
        return self._client


def chat_body(request: ChatRequest, length_field: str, room: int = 0) -> dict[str, Any]:
    """The body of a chat completion: what the request sets and nothing else. room: tokens for hidden reasoning."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        length_field: request.max_tokens + room,
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
