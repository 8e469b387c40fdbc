"""How many tokens a call will count as, and how many at most: from its text, and from what earlier replies counted."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from autointerp.protocols import ChatRequest, Request
from autointerp.types import Usage

__all__ = ["PER_MESSAGE", "TokenEstimate", "sort_of"]

# Before anything was counted: three characters to a token (English has about four, code and lists of tokens fewer),
# with the weight of some pages of text.
_TOKENS, _CHARACTERS = 4_000, 12_000
PER_MESSAGE = 4
"""Tokens of a role and its marks."""

# For the bound: three tokens to four bytes before enough was counted (lists of short tokens with numbers have about
# one to two), then a quarter more than in the densest request of the sort so far; and never more tokens than bytes.
_DENSITY, _MARGIN = 0.75, 1.25
_ENOUGH = 5  # calls of a sort
_SORTS = 1000  # of which is kept what was counted: there may be one for each request, where nothing stands before it
_PREAMBLE = 16  # what a server puts before the first message


def sort_of(request: Request) -> Hashable:
    """By the first message: requests with the same instructions before them have about the same texture."""
    return type(request).__name__, hash(request.messages[0].content)


@dataclass(slots=True)
class _Counted:
    """What servers counted of one sort of request. densest: the most tokens to a byte."""

    calls: int = 0
    densest: float = 0.0

    @property
    def most(self) -> float:
        """Tokens to a byte, at most."""
        seen = min(1.0, _MARGIN * self.densest)
        return seen if self.calls >= _ENOUGH else max(_DENSITY, seen)


_NOTHING = _Counted()


class TokenEstimate:
    """Tokens of a model's requests. No tokenizer is asked: it would have to be fetched, and servers differ."""

    def __init__(self) -> None:
        self._tokens, self._characters = _TOKENS, _CHARACTERS
        self._counted: dict[Hashable, _Counted] = {}

    def of(self, request: Request) -> int:
        """Prompt and room for the reply: servers count the room (`max_tokens`) when a request comes in."""
        room = request.max_tokens if isinstance(request, ChatRequest) else 1
        return self.prompt(request) + room

    def prompt(self, request: Request) -> int:
        """The prompt alone."""
        return round(_characters(request) * self._tokens / self._characters) + _marks(request)

    def most(self, request: Request) -> int:
        """The prompt, at most."""
        density = self._counted.get(sort_of(request), _NOTHING).most
        return math.ceil(_bytes(request) * density) + _marks(request) + _PREAMBLE

    def learn(self, request: Request, usage: Usage) -> None:
        """What the server counted. A usage without prompt tokens says nothing."""
        if usage.prompt_tokens:
            self._tokens += max(0, usage.prompt_tokens - _marks(request))
            self._characters += _characters(request)
            counted = self._counted.get(sort_of(request)) or _Counted()
            if len(self._counted) < _SORTS:
                self._counted[sort_of(request)] = counted
            counted.calls += 1
            counted.densest = max(counted.densest, (usage.prompt_tokens - _marks(request)) / max(1, _bytes(request)))


def _characters(request: Request) -> int:
    return sum(len(message.content) for message in request.messages)


def _bytes(request: Request) -> int:
    return sum(len(message.content.encode("utf-8", "surrogatepass")) for message in request.messages)


def _marks(request: Request) -> int:
    return PER_MESSAGE * len(request.messages)
