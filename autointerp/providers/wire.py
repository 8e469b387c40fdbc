"""Requests and replies as canonical JSON: what the ledger stores and what its key can be recomputed from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, Message, Reply, Request, TokenLogprobs
from autointerp.types import Usage

__all__ = [
    "NamedRequest",
    "canonical_json",
    "named_request",
    "reply_from_json",
    "reply_to_json",
    "request_from_json",
    "request_to_json",
]


def canonical_json(value: Any) -> str:
    """One form for equal values: keys sorted, ASCII only (so that a lone surrogate survives any store), no spaces."""
    return _ENCODER.encode(value)


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass as an object, its own dataclasses left to the encoder: `asdict` would copy every number first."""
    return {name: getattr(value, name) for name in _names(type(value))}


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=_fields)
_NAMES: dict[type[Any], tuple[str, ...]] = {}


def _names(cls: type[Any]) -> tuple[str, ...]:
    """Those of a class's fields, looked up once."""
    if cls not in _NAMES:
        _NAMES[cls] = tuple(field.name for field in fields(cls))
    return _NAMES[cls]


def _body(value: Request | Reply) -> dict[str, Any]:
    return {"kind": type(value).__name__, **_fields(value)}


def request_to_json(request: Request) -> str:
    """`request_from_json` inverts it."""
    return canonical_json(_body(request))


@dataclass(frozen=True, slots=True)
class NamedRequest:
    """What the ledger needs of a request: `request_key` of it, and `request_to_json`."""

    key: str
    text: str


def named_request(provider: str, request: Request) -> NamedRequest:
    """Both at the price of one. The key is the hash of the same JSON, with the provider at its place among the fields.

    As in that JSON, a number that is not finite raises ValueError.
    """
    body = _body(request)
    before, after = (
        canonical_json({name: body[name] for name in part})[1:-1] for part in _around_provider(tuple(body))
    )
    named = f'{{{before},"provider":{canonical_json(provider)},{after}}}'
    return NamedRequest(hashlib.sha256(named.encode()).hexdigest(), f"{{{before},{after}}}")


@cache
def _around_provider(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The names that stand before "provider" in the order of canonical JSON, and those after it."""
    return [name for name in names if name < "provider"], [name for name in names if name > "provider"]


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
