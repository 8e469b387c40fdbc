"""Requests and replies as JSON: the round trip keeps the value and the key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, Message, TokenLogprobs, request_key
from autointerp.providers.wire import (
    canonical_json,
    named_request,
    reply_from_json,
    reply_to_json,
    request_from_json,
    request_to_json,
)
from autointerp.types import Usage

# Any text, lone surrogates included: corpora hold broken text, and servers cut emoji in two.
texts = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)
numbers = st.floats(-50, 0).map(lambda value: round(value, 5))
messages = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts), min_size=1).map(tuple)
chats = st.builds(
    ChatRequest,
    model=texts,
    messages=messages,
    max_tokens=st.integers(1, 100),
    temperature=st.none() | st.sampled_from([0.0, 0.7]),
    seed=st.none() | st.integers(0, 2**63),
    stop=st.lists(texts, max_size=2).map(tuple),
    json_mode=st.booleans(),
    top_logprobs=st.integers(0, 5),
    sample=st.integers(0, 3),
)
echoes = st.builds(
    lambda before, text, candidates: EchoRequest(
        "m", (*before, Message("assistant", text + ".")), tuple(range(1, len(text) + 2)), tuple(candidates)
    ),
    messages,
    texts,
    st.lists(texts, max_size=3),
)
usages = st.builds(Usage, *[st.integers(0, 9999)] * 3, *[st.just(0) | st.integers(0, 9999)] * 2)
chat_replies = st.builds(
    ChatReply,
    texts,
    st.sampled_from(["stop", "length", "refusal"]),
    texts,
    usages,
    st.lists(st.builds(TokenLogprobs, texts, numbers, st.dictionaries(texts, numbers, max_size=2)), max_size=2).map(
        tuple
    ),
)
echo_replies = st.builds(
    EchoReply, st.lists(st.lists(st.none() | numbers, max_size=3).map(tuple), max_size=3).map(tuple), texts, usages
)


@settings(deadline=None, max_examples=60)
@given(chats | echoes)
def test_a_request_comes_back_equal_and_with_its_key(request: ChatRequest | EchoRequest) -> None:
    text = request_to_json(request)
    assert text.isascii()
    assert request_from_json(text) == request
    assert request_key("p", request_from_json(text)) == request_key("p", request)


@settings(deadline=None, max_examples=60)
@given(chat_replies | echo_replies)
def test_a_reply_comes_back_equal(reply: ChatReply | EchoReply) -> None:
    text = reply_to_json(reply)
    assert text.isascii()
    assert reply_from_json(text) == reply
    assert reply_to_json(reply_from_json(text)) == text


def test_the_form_is_canonical_and_has_no_not_a_number() -> None:
    assert canonical_json({"b": [1.5, None], "a": "é"}) == '{"a":"\\u00e9","b":[1.5,null]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind":"Other","messages":[],"usage":{}}', '{"kind":"ChatReply"}'])
def test_what_is_no_request_or_reply_is_said_to_be_none(text: str) -> None:
    for read in (request_from_json, reply_from_json):
        with pytest.raises((ValueError, KeyError, TypeError)):
            read(text)


@settings(deadline=None, max_examples=60)
@given(chats | echoes | chat_replies | echo_replies)
def test_the_form_is_that_of_the_fields_in_depth(value: object) -> None:
    body = {"kind": type(value).__name__, **asdict(value)}
    if isinstance(value, ChatReply | EchoReply):
        body["usage"] = value.usage.to_json()  # counts that came later are left out where they are 0
    written = reply_to_json(value) if isinstance(value, ChatReply | EchoReply) else request_to_json(value)
    if written != canonical_json(body):  # an empty list of log-probabilities is left out of a reply
        assert isinstance(value, ChatReply | EchoReply)
        assert body.pop("logprobs") == ()
        assert written == canonical_json(body)


def test_a_field_that_is_not_known_is_not_dropped() -> None:
    request = ChatRequest("m", (Message("user", "x"),), 3)
    body = {**json.loads(request_to_json(request)), "surprise": 1}
    with pytest.raises(TypeError):
        request_from_json(json.dumps(body))


def test_replies_of_before_hidden_and_written_tokens_were_counted_keep_their_bytes() -> None:
    old = {"completion_tokens": 2, "prompt_tokens": 3, "cached_prompt_tokens": 1}
    reply = ChatReply("hi", "stop", "m", Usage(3, 2, 1))
    assert json.loads(reply_to_json(reply))["usage"] == old
    new = ChatReply("hi", "stop", "m", Usage(3, 2, 1, cache_write_tokens=2, reasoning_tokens=1))
    assert json.loads(reply_to_json(new))["usage"] == {**old, "cache_write_tokens": 2, "reasoning_tokens": 1}
    assert sum([new.usage, new.usage], Usage()) == Usage(6, 4, 2, 4, 2)


@given(texts, chats | echoes)
def test_key_and_json_made_together_are_those_made_apart(provider: str, request: ChatRequest | EchoRequest) -> None:
    named = named_request(provider, request)
    assert named.key == request_key(provider, request)
    assert named.text == request_to_json(request)


def test_a_key_that_was_written_down() -> None:
    """Ledgers hold keys for years, so the text that is hashed is spelled out here."""
    request = ChatRequest("m", (Message("user", "hi"),), 8)
    text = (
        '{"json_mode":false,"kind":"ChatRequest","max_tokens":8,"messages":[{"content":"hi","role":"user"}],"model":"m",'
        '"provider":"p","sample":0,"seed":null,"stop":[],"temperature":0.0,"top_logprobs":0}'
    )
    assert named_request("p", request).key == hashlib.sha256(text.encode()).hexdigest()
