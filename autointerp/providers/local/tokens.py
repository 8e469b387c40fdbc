"""From messages to token ids: the chat template, cuts that force a token boundary, and inert special tokens.

Text inside a message is data. Where it holds the spelling of a special token ("<|im_end|>" in a corpus), it is cut
inside that spelling, so that it is read as ordinary characters and cannot end a turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from autointerp.errors import Unsupported
from autointerp.protocols import ChatRequest, EchoRequest, Message

__all__ = ["ChatTokenizer", "EchoTokens", "Vocabulary"]

# Names under which models know the end of a turn; files do not always list all that apply.
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "</s>")


class Vocabulary(Protocol):
    """What is needed of a tokenizer. special: the special tokens' ids by spelling; ends: ids that end a text."""

    special: Mapping[str, int]
    ends: frozenset[int]

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone; the spellings of special tokens become special tokens."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        ...

    def spelling(self, token: int) -> str:
        """One token as text, special or not; two tokens never look the same."""
        ...

    def render(self, turns: Sequence[Mapping[str, str]]) -> str:
        """The chat template's text up to where an answer begins. Raises Unsupported if there is none, or it refuses."""
        ...


@dataclass(frozen=True, slots=True)
class EchoTokens:
    """A tokenised echo request. positions [slots]: index of the token just before each slot; candidates: their ids."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    candidates: tuple[int, ...]


class ChatTokenizer:
    """Turns requests into token ids with the model's own chat template."""

    def __init__(self, vocabulary: Vocabulary, model: str) -> None:
        self._vocabulary = vocabulary
        self._model = model
        self._anchor = ""
        self._anchor_ids: list[int] = []
        self._find_anchor()

    @property
    def ends(self) -> frozenset[int]:
        """Ids that end an answer: those the model's files declare, and the known names that its vocabulary holds."""
        special = self._vocabulary.special
        return self._vocabulary.ends | {special[name] for name in _END_OF_TURN if name in special}

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
        return self._vocabulary.decode(ids)

    def spelling(self, token: int) -> str:
        """One token as text, special tokens included."""
        return self._vocabulary.spelling(token)

    def _render(self, messages: Sequence[Message]) -> tuple[str, set[int]]:
        """The template's text up to the opening of an answer, and the cuts that keep special spellings inert."""
        mark = _unused_character(message.content for message in messages)
        turns = [{"role": message.role, "content": self._marked(message.content, mark)} for message in messages]
        parts = self._vocabulary.render(turns).split(mark)
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
        for spelling in self._vocabulary.special:
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
            ids += self._piece(piece) if start else self._vocabulary.encode(piece)
            boundaries[cut] = len(ids)
            start = cut
        return ids, boundaries

    def _piece(self, text: str) -> list[int]:
        """Ids of a text that follows other text."""
        ids = self._vocabulary.encode(self._anchor + text)
        if ids[: len(self._anchor_ids)] != self._anchor_ids:
            raise Unsupported(
                f"the tokenizer of {self._model} cannot cut a text before {text[:20]!r}: take another model"
            )
        return ids[len(self._anchor_ids) :]

    def _find_anchor(self) -> None:
        """Some tokenizers put a space before every text they encode: there, pieces are encoded after a newline."""
        plain = self._vocabulary.encode("0")
        newline = self._vocabulary.encode("\n")
        after = self._vocabulary.encode("\n0")
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
