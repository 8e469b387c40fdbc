"""A conversation in the wire format of Anthropic's /v1/messages."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from autointerp.errors import Unsupported
from autointerp.protocols import ChatRequest

__all__ = ["message_body"]


def message_body(request: ChatRequest, room: int = 0, thinking: str = "", effort: str = "") -> dict[str, Any]:
    """The body of a request: what the request and the settings set, and nothing else.

    The system messages that open the conversation become the field `system`. room: tokens for thinking, beyond the
    request's own. The vendor is asked to cache what comes before the last user message: it is the same for many units.
    Raises Unsupported for a system message further down, which the field would move to the front.
    """
    opening = list(takewhile(lambda message: message.role == "system", request.messages))
    rest = request.messages[len(opening) :]
    if any(message.role == "system" for message in rest):
        raise Unsupported(f"{request.model} takes system messages at the beginning of a conversation only")
    system = [_block(message.content) for message in opening]
    turns = [{"role": message.role, "content": [_block(message.content)]} for message in rest]
    _mark_end_of_stable_part(system, turns)
    body: dict[str, Any] = {"model": request.model, "messages": turns, "max_tokens": request.max_tokens + room}
    if system:
        body["system"] = system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if thinking:
        body["thinking"] = {"type": thinking}
    if effort:
        body["output_config"] = {"effort": effort}
    return body


def _block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _mark_end_of_stable_part(system: list[dict[str, Any]], turns: list[dict[str, Any]]) -> None:
    """Marks the last block before the last user message. The vendor takes no mark on an empty one.

    Everything up to the mark is written to the vendor's cache, or read from it for a tenth of the price. A beginning
    that is shorter than the model's minimum (512 to 4,096 tokens, by model) is not cached: the call is answered and
    billed as without a mark, no error says so, and its usage has neither cached nor written tokens.
    """
    last_question = max((place for place, turn in enumerate(turns) if turn["role"] == "user"), default=0)
    stable = system + [block for turn in turns[:last_question] for block in turn["content"]]
    if filled := [block for block in stable if block["text"].strip()]:
        filled[-1]["cache_control"] = {"type": "ephemeral"}
