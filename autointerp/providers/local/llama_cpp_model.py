"""A GGUF file run by llama.cpp, where its Python binding is installed: the same answers, another engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import llama_cpp
import numpy as np
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from autointerp.errors import ContextOverflow, ProviderError, Unsupported
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest
from autointerp.providers.local.generation import Answer, log_softmax, tried
from autointerp.providers.local.tokens import ChatTokenizer
from autointerp.types import FloatArray, Usage

__all__ = ["LlamaCppModel", "LlamaCppVocabulary"]

# A `llama_cpp.Llama` made with logits_all=True; the library has no types.
Llama: TypeAlias = Any

_DECIMALS = 5


class LlamaCppVocabulary:
    """See `autointerp.providers.local.tokens.Vocabulary`."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        inner = llama_cpp.llama_model_get_vocab(llama.model)
        ids = range(llama.n_vocab())
        self._control = {token for token in ids if llama_cpp.llama_vocab_is_control(inner, token)}
        self.special: Mapping[str, int] = {
            self._bytes(token).decode(errors="replace"): token for token in self._control
        }
        self.ends = frozenset(token for token in ids if llama_cpp.llama_vocab_is_eog(inner, token))

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._llama.tokenize(text.encode(), add_bos=False, special=True)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self._bytes(token) for token in ids if token not in self._control).decode(errors="replace")

    def spelling(self, token: int) -> str:
        """One that is no whole character alone is shown as its bytes."""
        piece = self._bytes(token)
        try:
            return piece.decode()
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in piece)

    def render(self, turns: Sequence[Mapping[str, str]]) -> str:
        template = self._llama.metadata.get("tokenizer.chat_template")
        if not template:
            raise Unsupported("the model has no chat template: take its instruct version")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        marks = {name: self._bytes(getattr(self._llama, f"token_{name}")()).decode() for name in ("bos", "eos")}
        try:
            return environment.from_string(template).render(
                messages=[dict(turn) for turn in turns],
                add_generation_prompt=True,
                enable_thinking=False,
                bos_token=marks["bos"],
                eos_token=marks["eos"],
            )
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in turns) or "none"
            raise Unsupported(f"the model's chat template refuses these turns ({roles}): {error}") from error

    def _bytes(self, token: int) -> bytes:
        piece: bytes = self._llama.detokenize([token], special=True) if token >= 0 else b""
        return piece


class LlamaCppModel:
    """Answers as `CausalModel` does, one request after another; the last prompt's beginning is not computed again."""

    def __init__(self, llama: Llama, tokenizer: ChatTokenizer, *, served: str) -> None:
        self._llama = llama
        self._tokenizer = tokenizer
        self._served = served

    def echo(self, requests: Sequence[EchoRequest]) -> list[EchoReply | ProviderError]:
        """Log-probabilities of the candidates at every slot, over the whole vocabulary, rounded to five decimals."""
        return [tried(self._echo, request) for request in requests]

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatReply | ProviderError]:
        """An answer to each conversation."""
        return [tried(self._chat, request) for request in requests]

    def _echo(self, request: EchoRequest) -> EchoReply:
        tokens = self._tokenizer.echo(request)
        self._check_room(len(tokens.ids), 0)
        reused = self._read(tokens.ids, limit=min(tokens.positions))
        rows = (log_softmax(self._logits(position))[list(tokens.candidates)] for position in tokens.positions)
        numbers = tuple(tuple(round(float(value), _DECIMALS) for value in row) for row in rows)
        return EchoReply(numbers, self._served, Usage(len(tokens.ids), 0, reused))

    def _chat(self, request: ChatRequest) -> ChatReply:
        if request.json_mode:
            raise Unsupported(f"{request.model} has no JSON mode in process: ask without it")
        ids = self._tokenizer.chat(request)
        self._check_room(len(ids), request.max_tokens)
        answer = Answer(request, self._tokenizer, len(ids), self._read(ids, limit=len(ids) - 1))
        answer.extend(self._logits(len(ids) - 1))
        while not answer.finished:
            self._llama.eval(answer.ids[-1:])
            answer.extend(self._logits(answer.length - 1))
        return answer.reply(self._served)

    def _check_room(self, prompt: int, answer: int) -> None:
        if prompt + answer > self._llama.n_ctx():
            raise ContextOverflow(
                f"{prompt} tokens of prompt and {answer} of answer exceed the context of {self._llama.n_ctx()} tokens"
            )

    def _read(self, ids: Sequence[int], limit: int) -> int:
        """Computes the prompt from where it differs from the last one, and returns how much was known."""
        held = self._llama.input_ids[: min(self._llama.n_tokens, limit)]
        different = np.flatnonzero(held != np.asarray(ids[: len(held)]))
        known = int(different[0]) if different.size else len(held)
        self._llama.n_tokens = known
        self._llama.eval(list(ids[known:]))
        return known

    def _logits(self, position: int) -> FloatArray:
        """[vocabulary], of the token after `position`."""
        row: FloatArray = self._llama.scores[position].astype(np.float64)
        return row


def _refuse(message: str) -> None:
    raise TemplateError(message)
