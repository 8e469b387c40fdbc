"""How many tokens a call will count as, and how many at most: from its text, and from what earlier replies counted."""

from __future__ import annotations

import math

from autointerp.protocols import ChatRequest, Request
from autointerp.types import Usage

__all__ = ["PER_MESSAGE", "TokenEstimate"]

# Before anything was counted: three characters to a token (English has about four, code and lists of tokens fewer),
# with the weight of some pages of text.
_TOKENS, _CHARACTERS = 4_000, 12_000
PER_MESSAGE = 4
"""Tokens of a role and its marks."""

# For the bound: three tokens to four bytes before anything was counted (lists of short tokens with numbers have about
# one to two), then a quarter more than in the densest request so far; and never more tokens than bytes.
_DENSITY, _MARGIN = 0.75, 1.25
_PREAMBLE = 16  # what a server puts before the first message


class TokenEstimate:
    """Tokens of a model's requests. No tokenizer is asked: it would have to be fetched, and servers differ."""

    def __init__(self) -> None:
        self._tokens, self._characters = _TOKENS, _CHARACTERS
        self._densest: float | None = None

    def of(self, request: Request) -> int:
        """Prompt and room for the reply: servers count the room (`max_tokens`) when a request comes in."""
        room = request.max_tokens if isinstance(request, ChatRequest) else 1
        return self.prompt(request) + room

    def prompt(self, request: Request) -> int:
        """The prompt alone."""
        return round(_characters(request) * self._tokens / self._characters) + _marks(request)

    def most(self, request: Request) -> int:
        """The prompt, at most."""
        density = _DENSITY if self._densest is None else min(1.0, _MARGIN * self._densest)
        return math.ceil(_bytes(request) * density) + _marks(request) + _PREAMBLE

    def learn(self, request: Request, usage: Usage) -> None:
        """What the server counted. A usage without prompt tokens says nothing."""
        if usage.prompt_tokens:
            self._tokens += max(0, usage.prompt_tokens - _marks(request))
            self._characters += _characters(request)
            density = (usage.prompt_tokens - _marks(request)) / max(1, _bytes(request))
            self._densest = density if self._densest is None else max(self._densest, density)


def _characters(request: Request) -> int:
    return sum(len(message.content) for message in request.messages)


def _bytes(request: Request) -> int:
    return sum(len(message.content.encode("utf-8", "surrogatepass")) for message in request.messages)


def _marks(request: Request) -> int:
    return PER_MESSAGE * len(request.messages)
