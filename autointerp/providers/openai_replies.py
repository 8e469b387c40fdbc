"""Reading what a server of OpenAI's protocol answered. Nothing is taken on trust: what is not there is a BadReply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from autointerp.errors import BadReply, Unsupported
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, TokenLogprobs
from autointerp.providers.reading import count, json_object
from autointerp.types import Usage

__all__ = ["read_chat", "read_echo"]

_DECIMALS = 5


def read_chat(text: str, request: ChatRequest) -> ChatReply:
    """The first choice of a chat completion. A refusal is a reply with finish "refusal" and the refusal as its text.

    What it raises knows the usage, where the answer says it: an answer that cannot be used is billed like another.
    """
    body = _body(text)
    with _billed(body):
        return _chat(body, request)


def _chat(body: Mapping[str, Any], request: ChatRequest) -> ChatReply:
    choice = _choice(body)
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise BadReply("the server's choice has no message")
    refusal, content = message.get("refusal"), message.get("content")
    finish = "refusal" if refusal else str(choice.get("finish_reason") or "")
    if content is None and finish in ("length", "content_filter"):
        content = ""  # all room went into hidden reasoning, or a filter took the text
    words = refusal or content
    if not isinstance(words, str) or not finish:
        raise BadReply(f"the server's message has {'no text' if finish else 'no finish_reason'}")
    return ChatReply(words, finish, _served(body, request.model), _usage(body), _generated(choice, request))


def read_echo(text: str, request: EchoRequest, start: int) -> EchoReply:
    """The candidates' log-probabilities at the slots of an echoed prompt in which the last message begins at `start`.

    Raises Unsupported where the server's tokens do not break at a slot, or its reply has no prompt log-probabilities;
    what it raises knows the usage as in `read_chat`.
    """
    body = _body(text)
    with _billed(body):
        return _echo(body, request, start)


def _echo(body: Mapping[str, Any], request: EchoRequest, start: int) -> EchoReply:
    logprobs: Any = _choice(body).get("logprobs")
    try:
        offsets = {int(offset): place for place, offset in reversed([*enumerate(logprobs["text_offset"])])}
        alternatives = [dict(top or {}) for top in logprobs["top_logprobs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise Unsupported(
            f"{request.model}: the server gives no log-probabilities of the prompt with `echo`"
        ) from error
    rows = []
    for slot in request.slots:
        place = offsets.get(start + slot)
        if place is None or place >= len(alternatives):
            before = request.messages[-1].content[max(0, slot - 10) : slot]
            raise Unsupported(f"{request.model}: no token of the server's begins at the slot after {before!r}")
        rows.append(tuple(_number(alternatives[place].get(candidate)) for candidate in request.candidates))
    return EchoReply(tuple(rows), _served(body, request.model), _usage(body))


def _body(text: str) -> Mapping[str, Any]:
    body = json_object(text)
    if "choices" not in body and "error" in body:
        raise BadReply(f"the server reports an error with a status of success: {str(body['error'])[:200]}")
    return body


@contextmanager
def _billed(body: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except (BadReply, Unsupported) as error:
        with suppress(BadReply):
            error.usage = _usage(body) if body.get("usage") else None
        raise


def _choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise BadReply("the server's answer has no choices")
    return choices[0]


def _served(body: Mapping[str, Any], asked: str) -> str:
    return str(body.get("model") or asked)


def _usage(body: Mapping[str, Any]) -> Usage:
    """Zeros where the server does not count. Hidden reasoning is part of `completion_tokens`, and billed as such.

    Some servers leave it out there, so that only `total_tokens` has it: what is not prompt was generated.
    """
    usage = body.get("usage") or {}
    try:
        prompt = usage.get("prompt_tokens_details") or {}
        completion = usage.get("completion_tokens_details") or {}
        asked, total = count(usage.get("prompt_tokens")), count(usage.get("total_tokens"))
        return Usage(
            prompt_tokens=asked,
            completion_tokens=max(count(usage.get("completion_tokens")), total - asked if asked else 0),
            cached_prompt_tokens=count(prompt.get("cached_tokens")),
            cache_write_tokens=count(prompt.get("cache_write_tokens")),
            reasoning_tokens=count(completion.get("reasoning_tokens")),
        )
    except (AttributeError, ValueError) as error:
        raise BadReply(f"the server's usage is not a count of tokens: {str(usage)[:60]}") from error


def _generated(choice: Mapping[str, Any], request: ChatRequest) -> tuple[TokenLogprobs, ...]:
    if not request.top_logprobs:
        return ()
    listed = (choice.get("logprobs") or {}).get("content")
    if not listed:
        raise Unsupported(f"{request.model}: the server gave no log-probabilities though it was asked for them")
    try:
        return tuple(
            TokenLogprobs(
                str(token["token"]),
                round(float(token["logprob"]), _DECIMALS),
                _alternatives(token["top_logprobs"]),
            )
            for token in listed
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadReply(f"the server's log-probabilities cannot be read ({error})") from error


def _alternatives(listed: Any) -> dict[str, float]:
    """By text. Tokens that share one (marks that end a message are all "") stand as the most likely of them."""
    found: dict[str, float] = {}
    for one in listed:
        text, logprob = str(one["token"]), round(float(one["logprob"]), _DECIMALS)
        found[text] = max(logprob, found.get(text, logprob))
    return found


def _number(value: Any) -> float | None:
    """A log-probability, rounded; the servers' -9999 for impossible tokens stays what it is. None where not listed."""
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise BadReply(f"the server's log-probability is not a number: {value!r}")
    return round(float(value), _DECIMALS)
