"""A tokenizer of the `transformers` library as the vocabulary this package works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from autointerp.errors import Unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["HuggingFaceVocabulary"]


class HuggingFaceVocabulary:
    """See `autointerp.providers.local.tokens.Vocabulary`. ends: what the model's configuration declares."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int] = frozenset()) -> None:
        self._tokenizer = tokenizer
        added = {str(token): place for place, token in tokenizer.added_tokens_decoder.items() if token.special}
        named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
        self.special: Mapping[str, int] = {**named, **added}
        own = tokenizer.eos_token_id
        self.ends = ends | ({own} if isinstance(own, int) else set())

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def spelling(self, token: int) -> str:
        """One that is no whole character alone is shown as the vocabulary writes it."""
        text = str(self._tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return str(self._tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text else text

    def render(self, turns: Sequence[Mapping[str, str]]) -> str:
        if not self._tokenizer.chat_template:
            raise Unsupported("the model has no chat template: take its instruct version")
        try:
            # Models that think aloud by default are asked not to; templates of others ignore the variable.
            text = self._tokenizer.apply_chat_template(
                [dict(turn) for turn in turns], tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in turns) or "none"
            raise Unsupported(f"the model's chat template refuses these turns ({roles}): {error}") from error
        return str(text)
