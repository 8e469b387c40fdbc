"""Requests and replies as canonical JSON: what the ledger stores and what its key can be recomputed from."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, Message, Reply, Request, TokenLogprobs
from autointerp.types import Usage

__all__ = ["canonical_json", "reply_from_json", "reply_to_json", "request_from_json", "request_to_json"]


def canonical_json(value: Any) -> str:
    """One form for equal values: keys sorted, ASCII only (so that a lone surrogate survives any store), no spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=_fields)


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass as an object, its own dataclasses left to the encoder: `asdict` would copy every number first."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _body(value: Request | Reply) -> dict[str, Any]:
    return {"kind": type(value).__name__, **_fields(value)}


def request_to_json(request: Request) -> str:
    """`request_from_json` inverts it."""
    return canonical_json(_body(request))


def request_from_json(text: str) -> Request:
    """Raises ValueError, KeyError or TypeError where the text is no request."""
    body = json.loads(text)
    kind = body.pop("kind")
    body["messages"] = tuple(Message(**message) for message in body["messages"])
    if kind == "ChatRequest":
        body["stop"] = tuple(body["stop"])
        return ChatRequest(**body)
    if kind == "EchoRequest":
        body["slots"], body["candidates"] = tuple(body["slots"]), tuple(body["candidates"])
        return EchoRequest(**body)
    raise ValueError(f"unknown kind of request {kind!r}")


def reply_to_json(reply: Reply) -> str:
    """`reply_from_json` inverts it. Fields at their defaults are left out."""
    body = {**_body(reply), "usage": reply.usage.to_json()}
    if not body["logprobs"]:
        del body["logprobs"]
    return canonical_json(body)


def reply_from_json(text: str) -> Reply:
    """Raises ValueError, KeyError or TypeError where the text is no reply."""
    body = json.loads(text)
    kind = body.pop("kind")
    body["usage"] = Usage(**body["usage"])
    rows = body.pop("logprobs", [])
    if kind == "ChatReply":
        return ChatReply(**body, logprobs=tuple(TokenLogprobs(**row) for row in rows))
    if kind == "EchoReply":
        return EchoReply(**body, logprobs=tuple(tuple(row) for row in rows))
    raise ValueError(f"unknown kind of reply {kind!r}")
