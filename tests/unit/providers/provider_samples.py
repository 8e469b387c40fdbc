"""Small requests and replies for the tests of this room."""

from __future__ import annotations

from datetime import UTC, datetime

from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, Message
from autointerp.types import Usage

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def chat_request(text: str = "hello", **changes: object) -> ChatRequest:
    return ChatRequest(**{"model": "m", "messages": (Message("user", text),), "max_tokens": 8, **changes})


def chat_reply(text: str = "hi") -> ChatReply:
    return ChatReply(text, "stop", "m-served", Usage(3, 2, 1))


def echo_request(text: str = "a\t_\nb\t_\n", **changes: object) -> EchoRequest:
    slots = tuple(place + 1 for place, character in enumerate(text) if character == "\t")
    messages = (Message("user", "levels"), Message("assistant", text))
    body = {"model": "m", "messages": messages, "slots": slots, "candidates": ("0", "1"), **changes}
    return EchoRequest(**body)


def echo_reply() -> EchoReply:
    return EchoReply(((-0.1, -2.5), (None, -1.25)), "m-served", Usage(9))
