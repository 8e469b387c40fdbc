"""One answer in the making: which token comes next, and when the answer is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from autointerp.errors import ProviderError
from autointerp.protocols import ChatReply, ChatRequest, TokenLogprobs, request_key
from autointerp.providers.local.tokens import ChatTokenizer
from autointerp.seeds import generator
from autointerp.types import FloatArray, Usage

__all__ = ["Answer", "log_softmax", "tried"]

T = TypeVar("T")
R = TypeVar("R")

_DECIMALS = 5


class Answer:
    """The answer to one request, grown token by token.

    prompt_tokens and cached: the prompt's length, and how much of it needed no computing. The choice is greedy where
    the temperature is 0 or None; else it is drawn with a generator seeded from the request alone, so that the other
    answers of a batch have no part in it.
    """

    def __init__(self, request: ChatRequest, tokenizer: ChatTokenizer, prompt_tokens: int, cached: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.most = request.max_tokens
        self.ids: list[int] = []
        self.finished = False
        self._request = request
        self._tokenizer = tokenizer
        self._ends = tokenizer.ends
        self._cached = cached
        self._finish = "length"
        self._logprobs: list[TokenLogprobs] = []
        self._draws = generator(request.seed or 0, "sample", request_key("local", request))

    @property
    def length(self) -> int:
        """Tokens of prompt and answer so far."""
        return self.prompt_tokens + len(self.ids)

    def extend(self, logits: FloatArray) -> None:
        """Adds the next token, chosen from `logits` [vocabulary]."""
        token = self._choose(logits)
        self.ids.append(token)
        if token in self._ends:
            self._finish, self.finished = "stop", True
            return
        if self._request.top_logprobs:
            self._logprobs.append(self._alternatives(logits, token))
        if self._request.stop and self._stop_at() is not None:
            self._finish, self.finished = "stop", True
        elif len(self.ids) >= self.most:
            self.finished = True

    def reply(self, served: str) -> ChatReply:
        """What was written, without the end token and cut before the first stop string."""
        text = self._text()
        stop = self._stop_at()
        return ChatReply(
            text if stop is None else text[:stop],
            self._finish,
            served,
            Usage(self.prompt_tokens, len(self.ids), self._cached),
            tuple(self._logprobs),
        )

    def _choose(self, logits: FloatArray) -> int:
        if not self._request.temperature:
            return int(logits.argmax())
        sums = np.cumsum(np.exp(log_softmax(logits / self._request.temperature)))
        return int(np.searchsorted(sums, self._draws.random() * sums[-1], side="right"))

    def _alternatives(self, logits: FloatArray, token: int) -> TokenLogprobs:
        logprobs = log_softmax(logits)
        likeliest = np.argsort(-logprobs, kind="stable")[: self._request.top_logprobs]
        top = {self._tokenizer.spelling(int(other)): round(float(logprobs[other]), _DECIMALS) for other in likeliest}
        return TokenLogprobs(self._tokenizer.spelling(token), round(float(logprobs[token]), _DECIMALS), top)

    def _text(self) -> str:
        return self._tokenizer.decode([token for token in self.ids if token not in self._ends])

    def _stop_at(self) -> int | None:
        """Where the earliest stop string begins in the text so far."""
        text = self._text() if self._request.stop else ""
        found = [text.find(stop) for stop in self._request.stop if stop in text]
        return min(found, default=None)


def tried(make: Callable[[T], R], request: T) -> R | ProviderError:
    """What `make` gives, or the error that belongs to this request alone."""
    try:
        return make(request)
    except ProviderError as error:
        return error


def log_softmax(logits: FloatArray) -> FloatArray:
    """Log-probabilities (nats) of the logits of one place, [vocabulary]."""
    shifted = logits - logits.max()
    normalised: FloatArray = shifted - np.log(np.exp(shifted).sum())
    return normalised
