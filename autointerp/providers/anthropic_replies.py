"""Reading what Anthropic's /v1/messages answered. Nothing is taken on trust: what is not there is a BadReply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from autointerp.errors import BadReply
from autointerp.protocols import ChatReply
from autointerp.providers.reading import count, json_object
from autointerp.types import Usage

__all__ = ["FINISHES", "read_message"]

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",  # cut as well, only at another limit
    "refusal": "refusal",
}
"""The vendor's reasons to stop in this project's words; the others keep their own."""

_HIDDEN = ("thinking", "redacted_thinking")


def read_message(text: str) -> ChatReply:
    """The reply that a response holds. Thinking is left out; a block that nobody asked for (a tool's) is a BadReply.

    A refusal is a reply with finish "refusal"; where the model wrote nothing, the vendor's explanation is its text.
    A BadReply knows the usage where the answer says it: an answer that cannot be used is billed like another.
    """
    body = json_object(text)
    if body.get("type") == "error":
        raise BadReply(f"the server reports an error with a status of success: {str(body.get('error'))[:200]}")
    with _billed(body):
        return _message(body)


def _message(body: Mapping[str, Any]) -> ChatReply:
    if body.get("type") != "message":
        raise BadReply(f"the server's answer is not a message but {str(body.get('type'))[:60]!r}")
    stopped, served = body.get("stop_reason"), body.get("model")
    if not isinstance(stopped, str) or not stopped:
        raise BadReply("the server's message has no stop_reason")
    if not isinstance(served, str) or not served:
        raise BadReply("the server's message does not name the model that wrote it")
    finish = FINISHES.get(stopped, stopped)
    words = "".join(_texts(body.get("content")))
    return ChatReply(words or _explanation(body, finish), finish, served, _usage(body.get("usage")))


@contextmanager
def _billed(body: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except BadReply as error:
        with suppress(BadReply):
            error.usage = _usage(body.get("usage"))
        raise


def _texts(content: Any) -> Iterator[str]:
    if not isinstance(content, list):
        raise BadReply("the server's message has no list of content blocks")
    for block in content:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind in _HIDDEN:
            continue
        if kind != "text" or not isinstance(block.get("text"), str):
            raise BadReply(f"the server's message holds a block that is no text: {str(kind)[:60]!r}")
        yield block["text"]


def _explanation(body: Mapping[str, Any], finish: str) -> str:
    details = body.get("stop_details")
    if finish != "refusal" or not isinstance(details, Mapping):
        return ""
    return str(details.get("explanation") or details.get("category") or "")


def _usage(usage: Any) -> Usage:
    """What the call is billed by, so a reply without it is none. `input_tokens` leaves out those read and written."""
    if not isinstance(usage, Mapping) or "input_tokens" not in usage or "output_tokens" not in usage:
        raise BadReply("the server's message does not say its usage")
    try:
        read, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
        details = usage.get("output_tokens_details") or {}
        return Usage(
            prompt_tokens=count(usage["input_tokens"]) + read + written,
            completion_tokens=count(usage["output_tokens"]),
            cached_prompt_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=count(details.get("thinking_tokens")),
        )
    except (AttributeError, ValueError) as error:
        raise BadReply(f"the server's usage is not a count of tokens: {str(usage)[:60]}") from error
