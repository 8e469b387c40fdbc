"""Replies to values, by closed grammars: what does not fit is a `ParseFailure` and never half a value.

No function here raises on any text. A failure says which: the reply was cut at the length limit, the model declined, or
the form is not the one asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from autointerp.prompting.text import one_line
from autointerp.protocols import ChatReply
from autointerp.types import Reason, Unscored

__all__ = ["ParseFailure", "cut", "declined", "is_refusal", "misfit", "parse_answer", "parse_sentence", "quoted"]

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


def quoted(text: str) -> str:
    """A text of somebody else's for a message: on one line, short, in quotes."""
    shown = one_line(text)
    return repr(shown if len(shown) <= 80 else shown[:77] + "...")


def cut(reply: ChatReply) -> ParseFailure | None:
    """The failure of a reply that was cut at the length limit."""
    if reply.finish == "length":
        return ParseFailure(Reason.TRUNCATED, f"the reply ended at the length limit: {quoted(reply.text)}")
    return None


def declined(reply: ChatReply) -> ParseFailure | None:
    """The failure of a reply that is a refusal by the server's own word."""
    if reply.finish in _REFUSED_FINISH:
        return ParseFailure(Reason.REFUSAL, f"the reply ended with {reply.finish!r}")
    return None


def misfit(reply: ChatReply, what: str) -> ParseFailure:
    """The failure of a reply that is not of the form asked for: a refusal in words, or a parse failure."""
    if is_refusal(reply.text):
        return ParseFailure(Reason.REFUSAL, f"the model declined: {quoted(reply.text)}")
    return ParseFailure(Reason.PARSE_FAILURE, f"{what}: {quoted(reply.text)}")


def _explanation(text: str, reply: ChatReply) -> str | ParseFailure:
    value = one_line(text)
    if not any(character.isalnum() for character in value):
        return misfit(reply, "the answer holds no word")
    if is_refusal(value):
        return ParseFailure(Reason.REFUSAL, f"the model declined: {quoted(value)}")
    return value


def parse_answer(reply: ChatReply) -> str | ParseFailure:
    """The text of the one <answer>...</answer> that ends a reply.

    A reply without the tags, with several, or with text after them is a failure: its reasoning is never taken for the
    answer (TM used such replies whole, which leaked reasoning into 13% of the features' explanations).
    """
    if failure := cut(reply) or declined(reply):
        return failure
    found = _ANSWER.search(reply.text)
    if found is None or reply.text.count("<answer>") != 1 or reply.text.count("</answer>") != 1:
        return misfit(reply, "the reply does not end with one <answer>...</answer>")
    return _explanation(found[1], reply)


def parse_sentence(reply: ChatReply, opening: str) -> str | ParseFailure:
    """The single line of a reply, without `opening` (the words it was to complete) where it repeats them."""
    if failure := cut(reply) or declined(reply):
        return failure
    lines = [line.strip() for line in reply.text.splitlines() if line.strip()]
    if len(lines) != 1:
        return misfit(reply, f"the reply has {len(lines)} lines instead of one")
    text = one_line(lines[0])
    if text.casefold().startswith(opening.casefold()):
        text = text[len(opening) :].strip(" :")
    return _explanation(text, reply)
