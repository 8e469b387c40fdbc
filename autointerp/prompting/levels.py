"""Levels of several texts out of one JSON reply: each text is checked by itself, so that it can fail alone.

The reply is {"0:The": 0, "1: cat": 7, "2: Then": 0}: every token of every text under the label it was shown with, which
is its number, counted through all texts, a colon, and the token. No two tokens have one number, so a level cannot slip
to another token or another text unseen; that the token is repeated shows that the model looked at it. Spaces at its
ends are not compared: models drop the one after the colon, and the number says already which token is meant.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autointerp.prompting.parsing import ParseFailure, cut, declined, misfit, quoted
from autointerp.protocols import ChatReply
from autointerp.types import FloatArray, Reason

__all__ = ["parse_levels"]

_SPACE = re.compile(r"[ \t\n\r]*")
_FENCE = re.compile(r"\s*```(?:json)?[ \t]*\n")
_FENCE_END = re.compile(r"\s*(?:```)?\s*")
_LABEL = re.compile(r"(?P<number>0|[1-9][0-9]{0,8}):.*", re.DOTALL)


def parse_levels(reply: ChatReply, asked: Sequence[Sequence[str]], highest: int) -> list[FloatArray | ParseFailure]:
    """The levels of each text asked for, in order: float64 [n_tokens], or why there are none.

    asked: the labels of each text's tokens as the prompt showed them, numbered from 0 through all texts. Levels are
    JSON integers from 0 to `highest`. A text counts where each of its tokens is there once, by number and by itself,
    with a level; otherwise it fails alone. Where the reply stops being JSON or is cut at the length limit, the texts
    that were complete before are kept; so are all of them where a model does not stop and numbers on, past the last
    token. For all texts fails a reply that declines, that has an entry without a number, or that goes on after its
    object (it may then say otherwise).
    """
    if failure := declined(reply):
        return [failure] * len(asked)
    entries, trouble = _entries(reply.text)
    if strays := [label for label, _ in entries if _number(label) < 0]:
        entries, trouble = [], f"nobody asked for {quoted(strays[0])}"
    found: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
    for label, level in entries:
        found[_number(label)].append((label, level))
    missing = _missing(reply, trouble)
    return [_levels(found, labels, highest, missing) for labels in asked]


def _number(label: str) -> int:
    """The number of a label; -1 for what is none."""
    match = _LABEL.fullmatch(label)
    return int(match["number"]) if match else -1


def _missing(reply: ChatReply, trouble: str) -> ParseFailure:
    """Why a token is not in the reply."""
    if trouble:
        return cut(reply) or misfit(reply, trouble)
    return ParseFailure(Reason.PARSE_FAILURE, "the reply leaves out tokens of this text")


def _levels(
    found: Mapping[int, Sequence[tuple[str, Any]]], labels: Sequence[str], highest: int, missing: ParseFailure
) -> FloatArray | ParseFailure:
    """The levels of one text. found: entries by number; missing: what it is where one of its tokens is not there."""
    levels = []
    for label in labels:
        entries = found.get(_number(label), ())
        if not entries:
            return missing
        if len(entries) > 1:
            return _failure(f"the reply has more than one entry for {quoted(label)}")
        [(given, level)] = entries
        if _token(given) != _token(label):
            return _failure(f"the reply has {quoted(given)}, not {quoted(label)}")
        if type(level) is not int or not 0 <= level <= highest:
            return _failure(f"{quoted(label)} has the level {_named(level)}, not a whole number from 0 to {highest}")
        levels.append(level)
    return np.array(levels, dtype=np.float64)


def _token(label: str) -> str:
    return label.partition(":")[2].strip(" ")


def _failure(what: str) -> ParseFailure:
    return ParseFailure(Reason.PARSE_FAILURE, what)


def _named(value: Any) -> str:
    """A JSON value for a message: itself where it is short by nature, else what sort it is."""
    if isinstance(value, str | int | float):
        return quoted(str(value))
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "null"


def _entries(text: str) -> tuple[list[tuple[str, Any]], str]:
    """The entries of the JSON object that a text is, up to where it stops being one, and what is wrong there, if so."""
    fence = _FENCE.match(text)
    cursor = _Cursor(text, fence.end() if fence else 0)
    entries: list[tuple[str, Any]] = []
    try:
        cursor.take("{")
        while True:
            name = cursor.name()
            cursor.take(":")
            value = cursor.value()
            closed = cursor.take(",}") == "}"
            entries.append((name, value))  # not before: of a number that the limit cut, "1" may be left of "10"
            if closed:
                break
    except (ValueError, RecursionError) as error:
        return entries, f"the reply is not one JSON object ({error})"
    if not (_FENCE_END if fence else _SPACE).fullmatch(text, cursor.place):
        return [], "the reply goes on after its JSON object"
    return entries, ""


class _Cursor:
    """Reads JSON values one after another. Raises ValueError and RecursionError where there is none."""

    _decoder = json.JSONDecoder(parse_constant=float)  # NaN is read as one, so that it fails its text alone

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
