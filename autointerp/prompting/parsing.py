"""Replies to values, by closed grammars: what does not fit is a `ParseFailure` and never half a value.

No function here raises on any text. A failure says which: the reply was cut at the length limit, the model declined, or
the form is not the one asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from autointerp.prompting.text import one_line
from autointerp.protocols import ChatReply
from autointerp.types import FloatArray, Reason, Unscored

__all__ = ["ParseFailure", "is_refusal", "parse_answer", "parse_levels", "parse_sentence"]

_REFUSED_FINISH = {"refusal", "content_filter"}
_REFUSAL = re.compile(
    r"[\s*]*(?:"
    r"(?:i[’']?m|i am) (?:very |so |truly )?sorry\b|sorry,? (?:but )?(?:i|as an)\b|(?:my )?apologies,? (?:but )?i\b"
    r"|i (?:do )?apologi[sz]e\b"
    r"|i (?:cannot|can not|can[’']?t|could not|couldn[’']?t|won[’']?t|will not|do not feel|don[’']?t feel)\b"
    r"|(?:i[’']?m|i am) (?:unable|not able|not comfortable|just an ai|an ai)\b"
    r"|unfortunately,? (?:i|as an)\b"
    r"|as an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r")",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"<answer>(.*?)</answer>\s*\Z", re.DOTALL)
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(?P<body>.*)\n\s*```\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """Why a reply gives no value. `reason` is PARSE_FAILURE, REFUSAL or TRUNCATED."""

    reason: Reason
    detail: str

    def unscored(self) -> Unscored:
        """The failure as a measurement's outcome."""
        return Unscored(self.reason, self.detail)


def is_refusal(text: str) -> bool:
    """Whether a reply opens as models do when they decline."""
    return _REFUSAL.match(text) is not None


def _quoted(text: str) -> str:
    shown = one_line(text)
    return repr(shown if len(shown) <= 80 else shown[:77] + "...")


def _named(value: Any) -> str:
    """A JSON value for a message: itself where it is short by nature, else what sort it is."""
    return _quoted(str(value)) if isinstance(value, str | int | float) else f"a JSON {type(value).__name__}"


def _unusable(reply: ChatReply) -> ParseFailure | None:
    """What makes a reply worthless whatever its text: it was cut, or declined by the server's own word."""
    if reply.finish == "length":
        return ParseFailure(Reason.TRUNCATED, f"the reply ended at the length limit: {_quoted(reply.text)}")
    if reply.finish in _REFUSED_FINISH:
        return ParseFailure(Reason.REFUSAL, f"the reply ended with {reply.finish!r}")
    return None


def _misfit(reply: ChatReply, what: str) -> ParseFailure:
    if is_refusal(reply.text):
        return ParseFailure(Reason.REFUSAL, f"the model declined: {_quoted(reply.text)}")
    return ParseFailure(Reason.PARSE_FAILURE, f"{what}: {_quoted(reply.text)}")


def _explanation(text: str, reply: ChatReply) -> str | ParseFailure:
    value = one_line(text)
    if not any(character.isalnum() for character in value):
        return _misfit(reply, "the answer holds no word")
    if is_refusal(value):
        return ParseFailure(Reason.REFUSAL, f"the model declined: {_quoted(value)}")
    return value


def parse_answer(reply: ChatReply) -> str | ParseFailure:
    """The text of the one <answer>...</answer> that ends a reply.

    A reply without the tags, with several, or with text after them is a failure: its reasoning is never taken for the
    answer (TM used such replies whole, which leaked reasoning into 13% of the features' explanations).
    """
    if failure := _unusable(reply):
        return failure
    found = _ANSWER.search(reply.text)
    if found is None or reply.text.count("<answer>") != 1 or reply.text.count("</answer>") != 1:
        return _misfit(reply, "the reply does not end with one <answer>...</answer>")
    return _explanation(found[1], reply)


def parse_sentence(reply: ChatReply, opening: str) -> str | ParseFailure:
    """The single line of a reply, without `opening` (the words it was to complete) where it repeats them."""
    if failure := _unusable(reply):
        return failure
    lines = [line.strip() for line in reply.text.splitlines() if line.strip()]
    if len(lines) != 1:
        return _misfit(reply, f"the reply has {len(lines)} lines instead of one")
    text = one_line(lines[0])
    if text.casefold().startswith(opening.casefold()):
        text = text[len(opening) :].strip(" :")
    return _explanation(text, reply)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key appears twice")
    return table


def _json_object(reply: ChatReply) -> dict[str, Any] | ParseFailure:
    fenced = _FENCE.fullmatch(reply.text)
    try:
        value = json.loads(
            fenced["body"] if fenced else reply.text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates
        )
    except (ValueError, RecursionError) as error:
        return _misfit(reply, f"the reply is not JSON ({error})")
    return value if isinstance(value, dict) else _misfit(reply, "the reply is not a JSON object")


def _levels(value: Any, tokens: Sequence[str], highest: int) -> FloatArray | ParseFailure:
    """The levels of one sequence [[token, level], ...], its tokens compared with those asked for."""

    def failure(what: str) -> ParseFailure:
        return ParseFailure(Reason.PARSE_FAILURE, what)

    if not isinstance(value, list) or len(value) != len(tokens):
        found = f"{len(value)} entries" if isinstance(value, list) else "no list"
        return failure(f"the reply has {found} for {len(tokens)} tokens")
    for place, (pair, token) in enumerate(zip(value, tokens, strict=True)):
        if not isinstance(pair, list) or len(pair) != 2:
            return failure(f"entry {place} is not [token, level]")
        if pair[0] != token:
            return failure(f"entry {place} is for {_named(pair[0])}, not for {_quoted(token)}")
        if type(pair[1]) is not int or not 0 <= pair[1] <= highest:
            return failure(f"entry {place} has the level {_named(pair[1])}, not a whole number from 0 to {highest}")
    return np.array([level for _, level in value], dtype=np.float64)


def parse_levels(reply: ChatReply, asked: Sequence[Sequence[str]], highest: int) -> list[FloatArray | ParseFailure]:
    """The levels of each sequence asked for, from {"1": [[token, level], ...], "2": ...}; in order, float64 [n_tokens].

    asked: the tokens of each sequence as the prompt showed them; the reply must repeat them exactly. Levels are JSON
    integers from 0 to `highest`. One malformed sequence fails alone; a malformed object fails all.
    """
    whole = _unusable(reply) or _json_object(reply)
    if isinstance(whole, dict):
        names = [str(number) for number in range(1, len(asked) + 1)]
        if stray := sorted(set(whole) - set(names)):
            whole = _misfit(reply, f"nobody asked for the sequence {_quoted(stray[0])}")
    if isinstance(whole, ParseFailure):
        return [whole] * len(asked)
    return [_levels(whole.get(name), tokens, highest) for name, tokens in zip(names, asked, strict=True)]
