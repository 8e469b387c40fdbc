"""Anthropic's provider against a server on this machine that speaks its wire format: each way to answer has its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from loopback_server import Answer, Server
from provider_samples import chat_request, echo_request

from autointerp.errors import (
    Authentication,
    BadInput,
    BadReply,
    ContextOverflow,
    NotFound,
    ProviderError,
    ProviderRefused,
    Quota,
    RateLimited,
    Transient,
    Unsupported,
)
from autointerp.protocols import ChatReply, Message, Provider
from autointerp.providers.anthropic_errors import ERRORS, IMPOSSIBLE
from autointerp.providers.anthropic_provider import AnthropicProvider
from autointerp.types import Usage

SECRET = "sk-ant-planted-0123456789abcdef"
PLAIN = {"temperature": None, "model": "claude-haiku-4-5"}


def address(server: Server) -> str:
    return server.url.removesuffix("/v1")


@pytest.fixture
async def provider(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AnthropicProvider]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    made = AnthropicProvider(base_url=address(server), timeout_s=20.0)
    yield made
    await made.close()


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def message(*content: object, stop_reason: object = "end_turn", **changes: Any) -> dict[str, Any]:
    """A message as Anthropic documents it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 3},
        **changes,
    }


def failure(kind: str = "invalid_request_error", words: str = "no", code: str | None = None) -> dict[str, Any]:
    details = {} if code is None else {"details": {"error_code": code}}
    return {"type": "error", "error": {"type": kind, "message": words, **details}, "request_id": "req_1"}


async def test_a_reply_with_its_usage_and_the_model_that_served_it(server: Server, provider: AnthropicProvider) -> None:
    usage = {
        "input_tokens": 9,
        "cache_read_input_tokens": 40,
        "cache_creation_input_tokens": 7,
        "output_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 20},
    }
    server.answers = [Answer(message(text("hel"), text("lo"), usage=usage))]
    assert isinstance(provider, Provider)
    reply = await provider.ask(chat_request(**PLAIN))
    assert reply == ChatReply("hello", "stop", "claude-haiku-4-5-20251001", Usage(56, 30, 40, 7, 20))
    [(path, headers, body)] = server.asked
    assert path == "/v1/messages"
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["anthropic-version"]
    assert body == {
        "model": "claude-haiku-4-5",
        "messages": [{"role": "user", "content": [text("hello")]}],
        "max_tokens": 8,
    }


def turn(role: str, words: str, **marks: object) -> dict[str, Any]:
    return {"role": role, "content": [{**text(words), **marks}]}


MARK = {"cache_control": {"type": "ephemeral"}}


async def test_the_end_of_what_prompts_share_is_marked_for_the_cache(
    server: Server, provider: AnthropicProvider
) -> None:
    server.answers = [Answer(message(text("hi")))]

    async def sent(*messages: Message) -> dict[str, Any]:
        await provider.ask(chat_request(messages=messages, **PLAIN))
        return server.asked[-1][2]

    system, user, assistant = (Message(role, role[0].upper()) for role in ("system", "user", "assistant"))
    examples = await sent(system, user, assistant, Message("user", "Q"))
    assert examples["system"] == [text("S")]
    assert examples["messages"] == [turn("user", "U"), turn("assistant", "A", **MARK), turn("user", "Q")]

    bare = await sent(system, Message("system", "T"), user)
    assert bare["system"] == [text("S"), {**text("T"), **MARK}]
    assert bare["messages"] == [turn("user", "U")]

    prefilled = await sent(system, user, assistant)  # what follows the last question is no part of it
    assert (prefilled["system"], prefilled["messages"]) == (
        [{**text("S"), **MARK}],
        [turn("user", "U"), turn("assistant", "A")],
    )

    empty = await sent(system, user, Message("assistant", " "), user)  # the vendor takes no mark on an empty block
    assert empty["messages"] == [turn("user", "U", **MARK), turn("assistant", " "), turn("user", "U")]

    assert "system" not in await sent(user)
    assert "cache_control" not in json.dumps(server.asked[-1][2])


async def test_every_setting_is_sent_and_makes_other_requests_of_the_same_words(server: Server) -> None:
    server.answers = [Answer(message(text("hi")))]
    settings = {"base_url": address(server), "key_variable": "", "thinking": "adaptive", "effort": "low"}
    provider = AnthropicProvider.configured("claude-opus-5", settings)
    assert provider.name == "anthropic[effort=low,thinking=adaptive]"
    await provider.ask(chat_request(model="claude-opus-5", temperature=None, stop=("END",), sample=2))
    body = server.asked[0][2]
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == {
        "max_tokens": 8 + provider.capabilities("claude-opus-5").reasoning_room,
        "stop_sequences": ["END"],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
    }
    await provider.close()


def test_models_that_think_have_room_for_it() -> None:
    def room(model: str, **settings: Any) -> int:
        return AnthropicProvider(**settings).capabilities(model).reasoning_room

    for model in ("claude-3-5-haiku-latest", "claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-20250514"):
        assert room(model) == 0
        assert room(model, thinking="adaptive") > 1000
    for model in ("claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-mythos-5", "something-new"):
        assert room(model) > 1000
        assert room(model, thinking="disabled") == 0
        assert room(model, thinking_room=77) == 77


async def test_a_temperature_is_sent_under_the_version_that_has_it(server: Server) -> None:
    server.answers = [Answer(message(text("hi")))]
    newest = AnthropicProvider(base_url=address(server), key_variable="")
    with pytest.raises(Unsupported, match='explainer_temperature = "none"'):
        await newest.ask(chat_request(model="claude-haiku-4-5", temperature=0.0))
    assert server.asked == []
    older = AnthropicProvider(base_url=address(server), key_variable="", temperature=True)
    await older.ask(chat_request(model="claude-haiku-4-5", temperature=0.0))
    [(_, headers, body)] = server.asked
    assert (headers["anthropic-version"], body["temperature"]) == ("2023-06-01", 0.0)
    await older.close()
    await newest.close()


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-3-opus-20240229", 1024),
        ("claude-3-7-sonnet-20250219", 1024),
        ("claude-sonnet-4-20250514", 1024),
        ("claude-sonnet-4-5", 1024),
        ("claude-opus-4-1-20250805", 1024),
        ("claude-3-haiku-20240307", 2048),
        ("claude-3-5-haiku-20241022", 2048),
        ("claude-sonnet-4-6", 2048),  # documented as 1,024, and seen to begin here
        ("claude-haiku-4-5-20251001", 4096),
        ("claude-opus-4-5-20251101", 4096),
        ("claude-opus-4-6", 4096),
        ("claude-of-tomorrow-7", 4096),
    ],
)
def test_a_beginning_is_cached_from_a_length_that_depends_on_the_model(model: str, tokens: int) -> None:
    """The vendor's documentation of early 2026."""
    assert AnthropicProvider(key_variable="").capabilities(model).cached_from == tokens


async def test_what_the_vendor_does_not_have_is_refused_before_it_is_asked(
    server: Server, provider: AnthropicProvider
) -> None:
    lacking = ("seed", "json_mode", "generated_logprobs", "prompt_logprobs", "temperature")
    assert not any(getattr(provider.capabilities("m"), name) for name in lacking)
    assert provider.capabilities("m").prompt_caching
    wanted = {"seed": 1, "json_mode": True, "top_logprobs": 1}
    for name, value in wanted.items():
        with pytest.raises(Unsupported, match="take another model or provider"):
            await provider.ask(chat_request(temperature=None, **{name: value}))
    with pytest.raises(Unsupported, match='simulator = "json"'):
        await provider.ask(echo_request())
    moved = (Message("user", "U"), Message("system", "S"), Message("user", "Q"))
    with pytest.raises(Unsupported, match="at the beginning"):
        await provider.ask(chat_request(messages=moved, **PLAIN))
    assert server.asked == []


REPLIES = {
    "a stop sequence": (message(text("hi"), stop_reason="stop_sequence"), ("hi", "stop")),
    "cut": (message(text("cut sho"), stop_reason="max_tokens"), ("cut sho", "length")),
    "cut while thinking": (message({"type": "thinking", "thinking": "hm"}, stop_reason="max_tokens"), ("", "length")),
    "cut by the window": (message(text("c"), stop_reason="model_context_window_exceeded"), ("c", "length")),
    "thought, then said": (
        message({"type": "thinking", "thinking": "hm"}, {"type": "redacted_thinking", "data": "x"}, text("hi")),
        ("hi", "stop"),
    ),
    "a refusal in words": (message(text("I cannot."), stop_reason="refusal"), ("I cannot.", "refusal")),
    "a refusal without words": (message(stop_reason="refusal", stop_details=None), ("", "refusal")),
    "a refusal explained": (
        message(stop_reason="refusal", stop_details={"type": "refusal", "category": "bio", "explanation": "Harm."}),
        ("Harm.", "refusal"),
    ),
    "nothing said": (message(), ("", "stop")),
    "another word": (message(text("hi"), stop_reason="pause_turn"), ("hi", "pause_turn")),
}


@pytest.mark.parametrize("name", REPLIES)
async def test_truncation_and_refusal_are_replies_that_say_so(
    server: Server, provider: AnthropicProvider, name: str
) -> None:
    answer, expected = REPLIES[name]
    server.answers = [Answer(answer)]
    reply = await provider.ask(chat_request(**PLAIN))
    assert isinstance(reply, ChatReply)
    assert (reply.text, reply.finish) == expected


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in message(text("hi")).items() if name not in names}


TOOL = {"type": "tool_use", "id": "toolu_1", "name": "search", "input": {}}
LOW = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to purchase credits."
LIMITS = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."
FAILURES = {
    "wrong key": (Answer(failure("authentication_error"), 401), Authentication),
    "not allowed": (Answer(failure("permission_error"), 403), Authentication),
    "on hold": (Answer(failure(code="organization_on_hold"), 400), Authentication),
    "credit balance": (Answer(failure(words=LOW), 400), Quota),
    "usage limits": (Answer(failure(words=LIMITS), 400), Quota),
    "payment required": (Answer(failure("billing_error"), 402), Quota),
    "billing in another status": (Answer(failure("billing_error"), 403), Quota),
    "spend limit of the tier": (Answer(failure("rate_limit_error", code="enforced_spend_limit_reached"), 429), Quota),
    "spend limit, contract": (Answer(failure("rate_limit_error", code="contract_spend_limit_reached"), 429), Quota),
    "rate limit": (Answer(failure("rate_limit_error"), 429), RateLimited),
    "ramp limit": (Answer(failure("rate_limit_error", code="ramp_limit_exceeded"), 429), RateLimited),
    "request timeout": (Answer(failure("timeout_error"), 408), Transient),
    "conflict": (Answer(failure("conflict_error"), 409), Transient),
    "server error": (Answer(failure("api_error"), 500), Transient),
    "HTML of a gateway": (Answer(b"<html>bad gateway</html>", 502, content_type="text/html"), Transient),
    "unavailable": (Answer(failure("api_error"), 503), Transient),
    "gateway timeout": (Answer(failure("timeout_error"), 504), Transient),
    "overloaded": (Answer(failure("overloaded_error"), 529), Transient),
    "overloaded and says when": (Answer(failure("overloaded_error"), 529, {"retry-after": "3"}), Transient),
    "not implemented": (Answer(failure("api_error"), 501), ProviderRefused),
    "bad request": (Answer(failure(words="temperature: Extra inputs are not permitted"), 400), ProviderRefused),
    "no such model": (Answer(failure("not_found_error"), 404), NotFound),
    "unprocessable": (Answer(failure(), 422), ProviderRefused),
    "filtered": (Answer(failure(words="Output blocked by content filtering policy"), 400), ProviderError),
    "payload too large": (Answer(failure("request_too_large"), 413), ContextOverflow),
    "too long": (Answer(failure(words="prompt is too long: 210000 tokens > 200000 maximum"), 400), ContextOverflow),
    "connection cut": (Answer(message(text("hi")), cut=7), Transient),
    "no answer": (Answer(b"", dropped=True), Transient),
    "not what its header says": (Answer(b"plain", headers={"content-encoding": "gzip"}), Transient),
    "HTML with status 200": (Answer(b"<html>hello</html>", content_type="text/html"), BadReply),
    "garbage": (Answer(bytes(range(256))), BadReply),
    "cut JSON": (Answer(json.dumps(message(text("hi"))).encode()[:-9]), BadReply),
    "JSON without end": (Answer(b"[" * 200_000), BadReply),
    "nothing": (Answer(b""), BadReply),
    "a list": (Answer([1]), BadReply),
    "null": (Answer(None), BadReply),
    "an error with status 200": (Answer(failure("overloaded_error")), BadReply),
    "another vendor's reply": (Answer({"object": "chat.completion", "choices": []}), BadReply),
    "no content": (Answer(without("content")), BadReply),
    "content that is a text": (Answer(message(content="hi")), BadReply),
    "a block that is a text": (Answer(message("hi")), BadReply),
    "a block without its text": (Answer(message({"type": "text"})), BadReply),
    "a text that is a number": (Answer(message({"type": "text", "text": 3})), BadReply),
    "a tool nobody asked for": (Answer(message(text("Let me see."), TOOL, stop_reason="tool_use")), BadReply),
    "a block of an unhashable kind": (Answer(message({"type": ["text"]})), BadReply),
    "no stop reason": (Answer(message(text("hi"), stop_reason=None)), BadReply),
    "a stop reason that is a number": (Answer(message(text("hi"), stop_reason=1)), BadReply),
    "no model": (Answer(without("model")), BadReply),
    "no usage": (Answer(without("usage")), BadReply),
    "half a usage": (Answer(message(text("hi"), usage={"input_tokens": 9})), BadReply),
    "usage that is a word": (Answer(message(text("hi"), usage="many")), BadReply),
    "usage in words": (Answer(message(text("hi"), usage={"input_tokens": "9", "output_tokens": 3})), BadReply),
    "usage below nothing": (Answer(message(text("hi"), usage={"input_tokens": -9, "output_tokens": 3})), BadReply),
    "usage with wrong details": (
        Answer(message(text("hi"), usage={"input_tokens": 9, "output_tokens": 3, "output_tokens_details": [1]})),
        BadReply,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_every_failure_has_its_own_class_and_is_asked_once(
    server: Server, provider: AnthropicProvider, name: str
) -> None:
    answer, kind = FAILURES[name]
    server.answers = [answer]
    with pytest.raises(ProviderError) as caught:
        await provider.ask(chat_request(**PLAIN))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 1  # the SDK's own retries are off
    stops = isinstance(caught.value, (ProviderRefused, Unsupported))
    assert stops == (kind in (Authentication, Quota, ProviderRefused, NotFound))
    assert not stops or caught.value.exit_code == 3


@pytest.mark.parametrize(("answer", "timeout_s"), [(message(), 0.001), (message(), 0.3)])
async def test_nobody_there_and_no_answer_in_time(server: Server, answer: object, timeout_s: float) -> None:
    nobody = AnthropicProvider(base_url="http://127.0.0.1:9", key_variable="")
    with pytest.raises(Transient):
        await nobody.ask(chat_request(**PLAIN))
    await nobody.close()
    server.answers = [Answer(answer, trickle_s=0.05)]  # a trickle never keeps the transport waiting, and has to end
    impatient = AnthropicProvider(base_url=address(server), key_variable="", timeout_s=timeout_s)
    with pytest.raises(Transient):
        await impatient.ask(chat_request(**PLAIN))
    await impatient.close()


async def test_a_rate_limit_carries_the_servers_wait(server: Server, provider: AnthropicProvider) -> None:
    reset = {
        "anthropic-ratelimit-requests-reset": "2100-01-01T00:00:00Z",
        "anthropic-ratelimit-requests-remaining": "0",
    }
    server.answers = [Answer(failure(), 429, {"Retry-After": "17"}), Answer(failure(), 429, reset)]
    server.answers += [Answer(failure(), 429)]
    waits = []
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            await provider.ask(chat_request(**PLAIN))
        waits.append(caught.value.retry_after_s)
    assert waits[0] == 17.0
    assert waits[1] is not None
    assert waits[1] > 1e9
    assert waits[2] is None


def test_every_exception_of_the_installed_sdk_is_mapped() -> None:
    exported = [getattr(anthropic, name) for name in {*anthropic.__all__, *dir(anthropic)} if not name.startswith("_")]
    errors = {kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)}
    assert len(errors) >= 40
    assert errors == set(ERRORS)
    assert set(IMPOSSIBLE) < set(ERRORS)


def test_an_address_that_is_none() -> None:
    with pytest.raises(BadInput, match="not the address"):
        AnthropicProvider(base_url="localhost:8000")


async def test_a_missing_key_is_named_by_its_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(Authentication, match="environment variable MY_KEY"):
        await AnthropicProvider(base_url=address(server), key_variable="MY_KEY").ask(chat_request(**PLAIN))
    assert server.asked == []
