"""Levels of several texts out of one JSON reply: each text is read and checked by itself, so that it can fail alone.

The reply is {"1": {"0:The": 0, "1: cat": 7}, "2": {"2: Then": 0}}: texts by number, and in each every token that was
asked for, under the label it was shown with, which holds its number and its text. No two labels of a reply are equal,
so a level cannot slip to another token or another text unseen.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from autointerp.prompting.parsing import ParseFailure, cut, declined, misfit, quoted
from autointerp.protocols import ChatReply
from autointerp.types import FloatArray, Reason

__all__ = ["parse_levels"]

_SPACE = re.compile(r"[ \t\n\r]*")
_FENCE = re.compile(r"\s*```(?:json)?[ \t]*\n")
_FENCE_END = re.compile(r"\s*(?:```)?\s*")


def parse_levels(reply: ChatReply, asked: Sequence[Sequence[str]], highest: int) -> list[FloatArray | ParseFailure]:
    """The levels of each text asked for, in order: float64 [n_tokens], or why there are none.

    asked: the labels of each text's tokens as the prompt showed them; the reply must repeat them exactly, in order.
    Levels are JSON integers from 0 to `highest`. A text that does not fit fails alone. Where the reply stops being JSON
    or is cut at the length limit, the texts that were complete before are kept. For all texts fails a reply that
    declines, that answers a text nobody asked about, or that goes on after its object (it may then say otherwise).
    """
    if failure := declined(reply):
        return [failure] * len(asked)
    members, trouble = _members(reply.text)
    names = [str(number) for number in range(1, len(asked) + 1)]
    if stray := sorted({name for name, _ in members} - set(names)):
        members, trouble = [], f"nobody asked for the text {quoted(stray[0])}"
    missing = _missing(reply, trouble)
    times, found = Counter(name for name, _ in members), dict(members)
    return [
        missing if name not in found else _levels(found[name], times[name], labels, highest)
        for name, labels in zip(names, asked, strict=True)
    ]


def _missing(reply: ChatReply, trouble: str) -> ParseFailure:
    """Why a text is not in the reply."""
    if trouble:
        return cut(reply) or misfit(reply, trouble)
    return ParseFailure(Reason.PARSE_FAILURE, "the reply leaves this text out")


def _levels(value: Any, times: int, labels: Sequence[str], highest: int) -> FloatArray | ParseFailure:
    """The levels of one text, its tokens compared with those asked for."""

    def failure(what: str) -> ParseFailure:
        return ParseFailure(Reason.PARSE_FAILURE, what)

    if times > 1:
        return failure("the reply answers this text more than once")
    if not isinstance(value, tuple):
        return failure(f"the reply has {_named(value)} for a text instead of an object of its tokens")
    if len(value) != len(labels):
        return failure(f"the reply has {len(value)} levels for {len(labels)} tokens")
    for place, ((found, level), label) in enumerate(zip(value, labels, strict=True)):
        if found != label:
            return failure(f"entry {place} is for {quoted(found)}, not for {quoted(label)}")
        if type(level) is not int or not 0 <= level <= highest:
            return failure(f"entry {place} has the level {_named(level)}, not a whole number from 0 to {highest}")
    return np.array([level for _, level in value], dtype=np.float64)


def _named(value: Any) -> str:
    """A JSON value for a message: itself where it is short by nature, else what sort it is."""
    if isinstance(value, str | int | float):
        return quoted(str(value))
    return {tuple: "an object", list: "a list"}.get(type(value), "null")


def _members(text: str) -> tuple[list[tuple[str, Any]], str]:
    """The members of the JSON object that a text is, up to where it stops being one, and what is wrong there, if so.

    Objects come as tuples of pairs, so that a key which appears twice is seen.
    """
    fence = _FENCE.match(text)
    cursor = _Cursor(text, fence.end() if fence else 0)
    members: list[tuple[str, Any]] = []
    try:
        cursor.take("{")
        while True:
            name = cursor.name()
            cursor.take(":")
            members.append((name, cursor.value()))
            if cursor.take(",}") == "}":
                break
    except (ValueError, RecursionError) as error:
        return members, f"the reply is not one JSON object ({error})"
    if not (_FENCE_END if fence else _SPACE).fullmatch(text, cursor.place):
        return [], "the reply goes on after its JSON object"
    return members, ""


class _Cursor:
    """Reads JSON values one after another. Raises ValueError and RecursionError where there is none."""

    _decoder = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=float)

    def __init__(self, text: str, place: int) -> None:
        self._text = text
        self.place = place

    def take(self, characters: str) -> str:
        """The next character that is no space, which must be one of these."""
        self._skip_space()
        found = self._text[self.place : self.place + 1]
        if not found or found not in characters:
            raise ValueError(f"no {' or '.join(characters)} at character {self.place}")
        self.place += 1
        return found

    def name(self) -> str:
        value = self.value()
        if not isinstance(value, str):
            raise ValueError(f"no name in quotes before character {self.place}")
        return value

    def value(self) -> Any:
        self._skip_space()
        value, self.place = self._decoder.raw_decode(self._text, self.place)
        return value

    def _skip_space(self) -> None:
        space = _SPACE.match(self._text, self.place)
        self.place = space.end() if space else self.place
