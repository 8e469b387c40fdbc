"""From messages to token ids: the chat template, cuts that force a token boundary, and inert special tokens.

Text inside a message is data. Where it holds the spelling of a special token ("<|im_end|>" in a corpus), it is cut
inside that spelling, so that it is read as ordinary characters and cannot end a turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.errors import Unsupported
from autointerp.protocols import ChatRequest, EchoRequest, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ChatTokenizer", "EchoTokens"]

# Names under which models know the end of a turn; files do not always list all that apply.
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "</s>")


@dataclass(frozen=True, slots=True)
class EchoTokens:
    """A tokenised echo request. positions [slots]: index of the token just before each slot; candidates: their ids."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    candidates: tuple[int, ...]


class ChatTokenizer:
    """Turns requests into token ids with the model's own chat template. Raises Unsupported where it has none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: str) -> None:
        if not tokenizer.chat_template:
            raise Unsupported(f"{model} has no chat template: take its instruct version")
        self._tokenizer = tokenizer
        self._model = model
        added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._special = tuple(sorted({*tokenizer.all_special_tokens, *added}))
        self._anchor = ""
        self._anchor_ids: list[int] = []
        self._find_anchor()

    def chat(self, request: ChatRequest) -> tuple[int, ...]:
        """The prompt's ids, ending where the model's answer begins."""
        text, cuts = self._render(request.messages)
        return tuple(self._encode(text, cuts)[0])

    def echo(self, request: EchoRequest) -> EchoTokens:
        """The ids of the conversation with its last message left open, with a token boundary exactly at each slot.

        The last message follows the template's opening of an answer word for word, whatever the template would have
        done to the whitespace of a finished one: so the slots' offsets stay true. Raises Unsupported where a candidate
        is not one token.
        """
        candidates = tuple(self._single(candidate, request.candidates) for candidate in request.candidates)
        text, cuts = self._render(request.messages[:-1])
        answer = request.messages[-1].content
        slots = [len(text) + slot for slot in request.slots]
        inert = [len(text) + cut for cut in self._inside_special(answer)]
        ids, boundaries = self._encode(text + answer, {*cuts, *slots, *inert})
        return EchoTokens(tuple(ids), tuple(boundaries[slot] - 1 for slot in slots), candidates)

    def decode(self, ids: Sequence[int]) -> str:
        """Generated ids as text, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def spelling(self, token: int) -> str:
        """One token as text; one that is no whole character is shown in the vocabulary's own spelling."""
        text = str(self._tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return str(self._tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text else text

    def end_of_turn(self, declared: Iterable[int]) -> frozenset[int]:
        """Ids that end an answer: those `declared` by the model's files, and the known names the vocabulary holds."""
        vocabulary = self._tokenizer.get_vocab()
        named = {vocabulary[name] for name in _END_OF_TURN if name in self._special and name in vocabulary}
        own = self._tokenizer.eos_token_id
        return frozenset({*declared, *named} | ({own} if isinstance(own, int) else set()))

    def _render(self, messages: Sequence[Message]) -> tuple[str, set[int]]:
        """The template's text up to the opening of an answer, and the cuts that keep special spellings inert."""
        from jinja2 import TemplateError

        mark = _unused_character(message.content for message in messages)
        turns = [{"role": message.role, "content": self._marked(message.content, mark)} for message in messages]
        try:
            # Models that think aloud by default are asked not to; templates of others ignore the variable.
            marked = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except TemplateError as error:
            roles = ", ".join(message.role for message in messages) or "none"
            raise Unsupported(f"the chat template of {self._model} refuses these turns ({roles}): {error}") from error
        parts = str(marked).split(mark)
        cuts: set[int] = set()
        length = 0
        for part in parts[:-1]:
            length += len(part)
            cuts.add(length)
        return "".join(parts), cuts

    def _marked(self, content: str, mark: str) -> str:
        for cut in sorted(self._inside_special(content), reverse=True):
            content = content[:cut] + mark + content[cut:]
        return content

    def _inside_special(self, content: str) -> set[int]:
        """Offsets one character into every special token's spelling inside `content`."""
        cuts: set[int] = set()
        for spelling in self._special:
            start = content.find(spelling)
            while start >= 0:
                cuts.add(start + 1)
                start = content.find(spelling, start + 1)
        return cuts

    def _encode(self, text: str, cuts: Iterable[int]) -> tuple[list[int], dict[int, int]]:
        """Ids of `text` cut at `cuts`, and for each cut how many ids come before it."""
        ids: list[int] = []
        boundaries: dict[int, int] = {}
        start = 0
        for cut in sorted({*cuts, len(text)}):
            piece = text[start:cut]
            ids += self._piece(piece) if start else self._tokenizer.encode(piece, add_special_tokens=False)
            boundaries[cut] = len(ids)
            start = cut
        return ids, boundaries

    def _piece(self, text: str) -> list[int]:
        """Ids of a text that follows other text."""
        ids: list[int] = self._tokenizer.encode(self._anchor + text, add_special_tokens=False)
        if ids[: len(self._anchor_ids)] != self._anchor_ids:
            raise Unsupported(
                f"the tokenizer of {self._model} cannot cut a text before {text[:20]!r}: take another model"
            )
        return ids[len(self._anchor_ids) :]

    def _find_anchor(self) -> None:
        """Some tokenizers put a space before every text they encode: there, pieces are encoded after a newline."""
        plain = self._tokenizer.encode("0", add_special_tokens=False)
        newline = self._tokenizer.encode("\n", add_special_tokens=False)
        after = self._tokenizer.encode("\n0", add_special_tokens=False)
        if after != newline + plain:
            self._anchor, self._anchor_ids = "\n", newline

    def _single(self, candidate: str, candidates: Sequence[str]) -> int:
        ids = self._piece(candidate)
        if len(ids) != 1:
            several = [other for other in candidates if len(self._piece(other)) != 1]
            raise Unsupported(
                f"{self._model} writes the candidate {candidate!r} as {len(ids)} tokens, so it has no single "
                f"log-probability: leave out {', '.join(map(repr, several))} (for activations use the scale 0-9)"
            )
        return ids[0]


def _unused_character(contents: Iterable[str]) -> str:
    """A private-use character that none of the texts holds."""
    used = set().union(*contents) if contents else set()
    return next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in used)
