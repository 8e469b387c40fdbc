"""One answer in the making: which token comes next, and when the answer is over."""

from __future__ import annotations

import torch
from torch import Tensor

from autointerp.protocols import ChatReply, ChatRequest, TokenLogprobs, request_key
from autointerp.providers.local.tokens import ChatTokenizer
from autointerp.seeds import derive
from autointerp.types import Usage

__all__ = ["Answer"]

_DECIMALS = 5


class Answer:
    """The answer to one request, grown token by token.

    place: the request's index in its batch; ends: ids that end an answer; prompt_tokens and cached: lengths for the
    usage count. The choice is greedy where the temperature is 0 or None; else it is drawn with a generator seeded from
    the request alone, so that the other answers of a batch have no part in it.
    """

    def __init__(
        self,
        place: int,
        request: ChatRequest,
        tokenizer: ChatTokenizer,
        ends: frozenset[int],
        prompt_tokens: int,
        cached: int,
    ) -> None:
        self.place = place
        self.prompt_tokens = prompt_tokens
        self.most = request.max_tokens
        self.ids: list[int] = []
        self.finished = False
        self._request = request
        self._tokenizer = tokenizer
        self._ends = ends
        self._cached = cached
        self._finish = "length"
        self._logprobs: list[TokenLogprobs] = []
        self._generator = torch.Generator().manual_seed(derive(request.seed or 0, request_key("local", request)) >> 1)

    @property
    def length(self) -> int:
        """Tokens of prompt and answer so far."""
        return self.prompt_tokens + len(self.ids)

    def extend(self, logits: Tensor) -> None:
        """Adds the next token, chosen from float32 `logits` [vocabulary]."""
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

    def _choose(self, logits: Tensor) -> int:
        if not self._request.temperature:
            return int(logits.argmax())
        weights = torch.softmax(logits.cpu() / self._request.temperature, dim=-1)
        return int(torch.multinomial(weights, 1, generator=self._generator))

    def _alternatives(self, logits: Tensor, token: int) -> TokenLogprobs:
        logprobs = torch.log_softmax(logits, dim=-1)
        values, ids = logprobs.topk(self._request.top_logprobs)
        top = {
            self._tokenizer.spelling(other): round(value, _DECIMALS)
            for value, other in zip(values.tolist(), ids.tolist(), strict=True)
        }
        return TokenLogprobs(self._tokenizer.spelling(token), round(float(logprobs[token]), _DECIMALS), top)

    def _text(self) -> str:
        return self._tokenizer.decode([token for token in self.ids if token not in self._ends])

    def _stop_at(self) -> int | None:
        """Where the earliest stop string begins in the text so far."""
        text = self._text() if self._request.stop else ""
        found = [text.find(stop) for stop in self._request.stop if stop in text]
        return min(found, default=None)
