"""How a conversation is written as one text for servers that take a prompt and no messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autointerp.protocols import Message

__all__ = ["FORMATS", "render"]


def _chatml(messages: Sequence[Message]) -> str:
    """Qwen and others that were trained on ChatML."""
    turns = [f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in messages]
    return "".join(turns) + "<|im_start|>assistant\n"


def _llama3(messages: Sequence[Message]) -> str:
    """Llama 3 and its kin."""
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    turns = [f"{head.format(message.role)}{message.content}<|eot_id|>" for message in messages]
    return "<|begin_of_text|>" + "".join(turns) + head.format("assistant")


def _plain(messages: Sequence[Message]) -> str:
    """Base models: the messages' texts, one after another."""
    return "".join(f"{message.content}\n\n" for message in messages)


FORMATS: dict[str, Callable[[Sequence[Message]], str]] = {"chatml": _chatml, "llama3": _llama3, "plain": _plain}


def render(name: str, messages: Sequence[Message]) -> tuple[str, int]:
    """The conversation with its last message left open, and where that message begins."""
    opening = FORMATS[name](messages[:-1])
    return opening + messages[-1].content, len(opening)
