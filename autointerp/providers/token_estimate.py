"""How many tokens a call will count as: from its characters, and from what earlier replies counted."""

from __future__ import annotations

from autointerp.protocols import ChatRequest, Request
from autointerp.types import Usage

__all__ = ["TokenEstimate"]

# Before anything was counted: three characters to a token (English has about four, code and lists of tokens fewer),
# with the weight of some pages of text.
_TOKENS, _CHARACTERS = 4_000, 12_000
_PER_MESSAGE = 4  # a role and its marks


class TokenEstimate:
    """Tokens of a model's requests. No tokenizer is asked: it would have to be fetched, and servers differ."""

    def __init__(self) -> None:
        self._tokens, self._characters = _TOKENS, _CHARACTERS

    def of(self, request: Request) -> int:
        """Prompt and room for the reply: servers count the room (`max_tokens`) when a request comes in."""
        room = request.max_tokens if isinstance(request, ChatRequest) else 1
        return round(_characters(request) * self._tokens / self._characters) + _marks(request) + room

    def learn(self, request: Request, usage: Usage) -> None:
        """What the server counted. A usage without prompt tokens says nothing."""
        if usage.prompt_tokens:
            self._tokens += max(0, usage.prompt_tokens - _marks(request))
            self._characters += _characters(request)


def _characters(request: Request) -> int:
    return sum(len(message.content) for message in request.messages)


def _marks(request: Request) -> int:
    return _PER_MESSAGE * len(request.messages)
