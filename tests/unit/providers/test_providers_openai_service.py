"""OpenAI's own service: what each family of models is asked for, and how hidden reasoning is paid. The wire, with its
failures, is the compatible provider's, and tested there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
from loopback_server import Answer, Server
from openai.types.shared import ChatModel
from provider_samples import chat_request, echo_request

from autointerp.errors import ContextOverflow, ProviderError, Quota, RateLimited, Unsupported
from autointerp.protocols import ChatReply, Provider
from autointerp.providers.openai_provider import UNKNOWN, OpenAIProvider, family_of
from autointerp.types import Usage


def completion(text: str | None = "hi", finish: str = "stop", **usage: object) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "object": "chat.completion",
        "model": "gpt-5-2025-08-07",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 300, **usage},
    }


@pytest.fixture
async def provider(server: Server) -> AsyncIterator[OpenAIProvider]:
    made = OpenAIProvider(base_url=server.url, key_variable="")
    yield made
    await made.close()


async def test_a_reasoning_model_has_room_and_its_hidden_tokens_are_counted(
    server: Server, provider: OpenAIProvider
) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}}
    server.answers = [Answer(completion(completion_tokens_details={"reasoning_tokens": 256}, **details))]
    assert isinstance(provider, Provider)
    reply = await provider.ask(chat_request(model="gpt-5", temperature=None, json_mode=True))
    assert reply == ChatReply("hi", "stop", "gpt-5-2025-08-07", Usage(9, 300, 4, 5, 256))
    [(path, _, body)] = server.asked
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "gpt-5",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 8 + provider.capabilities("gpt-5").reasoning_room,
        "response_format": {"type": "json_object"},
    }


async def test_a_reasoning_model_that_used_up_its_room_was_cut(server: Server, provider: OpenAIProvider) -> None:
    server.answers = [Answer(completion("", "length", completion_tokens_details={"reasoning_tokens": 300}))]
    reply = await provider.ask(chat_request(model="o3", temperature=None))
    assert isinstance(reply, ChatReply)
    assert (reply.text, reply.finish, reply.usage.reasoning_tokens) == ("", "length", 300)


async def test_a_chat_model_is_sent_what_it_takes(server: Server, provider: OpenAIProvider) -> None:
    server.answers = [Answer(completion())]
    await provider.ask(chat_request(model="gpt-4.1-mini", seed=5, stop=("END",), json_mode=True))
    body = server.asked[0][2]
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == {
        "max_completion_tokens": 8,
        "temperature": 0.0,
        "seed": 5,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
    }


LACKING = [
    ("gpt-5-mini", {"temperature": 0.0}, 'explainer_temperature = "none"'),
    ("gpt-6-luna", {"temperature": 1.0}, "takes no temperature for gpt-6-luna"),
    ("o4-mini", {"temperature": 0.0}, "take another model"),
    ("o3", {"top_logprobs": 2}, "log-probabilities for o3"),
    ("o3", {"stop": ("END",)}, "stop sequences for o3"),
    ("o3", {"seed": 1}, "a seed for o3.*seed"),
    ("gpt-4-0613", {"json_mode": True, "temperature": 0.0}, "JSON mode for gpt-4-0613.*json_mode"),
    ("brand-new", {"temperature": 0.0}, "temperature = true"),
    ("brand-new", {"json_mode": True}, "JSON mode"),
]


@pytest.mark.parametrize(("model", "wanted", "complaint"), LACKING)
async def test_what_a_model_lacks_is_refused_with_the_alternatives(
    server: Server, provider: OpenAIProvider, model: str, wanted: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Unsupported, match=complaint) as caught:
        await provider.ask(chat_request(**{"model": model, "temperature": None, **wanted}))
    assert caught.value.exit_code == 2
    assert server.asked == []


async def test_prompt_log_probabilities_are_refused_with_the_alternatives(provider: OpenAIProvider) -> None:
    assert not provider.capabilities("gpt-4.1").prompt_logprobs
    with pytest.raises(Unsupported, match=r'simulator = "json".*"local".*echo_format'):
        await provider.ask(echo_request())


async def test_settings_correct_what_is_said_of_a_model(server: Server) -> None:
    server.answers = [Answer(completion())]
    settings = {"base_url": server.url, "key_variable": "", "temperature": True, "seed": True, "reasoning_room": 0}
    provider = OpenAIProvider.configured("brand-new", settings)
    assert provider.capabilities("brand-new").temperature
    await provider.ask(chat_request(model="brand-new", temperature=0.5, seed=3))
    body = server.asked[0][2]
    assert (body["temperature"], body["seed"], body["max_completion_tokens"]) == (0.5, 3, 8)
    await provider.close()


async def test_reasoning_effort_is_sent_and_makes_other_requests_of_the_same_words(server: Server) -> None:
    server.answers = [Answer(completion())]
    low = OpenAIProvider(base_url=server.url, key_variable="", reasoning_effort="low")
    assert low.name == "openai[reasoning_effort=low]"
    await low.ask(chat_request(model="gpt-5", temperature=None))
    assert server.asked[0][2]["reasoning_effort"] == "low"
    with pytest.raises(Unsupported, match=r"gpt-4\.1 does not reason"):
        await low.ask(chat_request(model="gpt-4.1"))
    await low.close()
    assert OpenAIProvider(reasoning_effort="none").capabilities("gpt-5.4").reasoning_room == 0
    assert OpenAIProvider(reasoning_room=99).name == "openai[reasoning_room=99]"
    assert OpenAIProvider().name == "openai"


# Named by the SDK, and left to be unknown: sound, search, and what is no longer served.
NO_FAMILY = ("audio", "search", "codex-mini", "vision")


def test_every_chat_model_that_the_installed_sdk_names_has_a_family() -> None:
    models = get_args(ChatModel)
    assert len(models) >= 60
    unknown = [model for model in models if family_of(model) is UNKNOWN]
    assert [model for model in unknown if not any(part in model for part in NO_FAMILY)] == []
    for model in models:
        reasons = model.startswith(("o1", "o3", "o4", "gpt-5", "gpt-6"))
        assert (family_of(model).reasoning_room > 0) == (reasons or model in unknown)
        assert family_of(model).temperature != (reasons or model in unknown)


def test_a_fine_tuned_model_is_of_its_bases_family() -> None:
    assert family_of("ft:gpt-4.1-mini-2025-04-14:my-org::abc") is family_of("gpt-4.1-mini")
    for model in ("ft:mine", "gpt-40", "o33", "oracle", "GPT-5", ""):
        assert family_of(model) is UNKNOWN


VENDOR_FAILURES = [
    (429, {"code": "insufficient_quota", "message": "You exceeded your current quota"}, Quota),
    (429, {"code": "billing_not_active", "message": "Your account is not active"}, Quota),
    (429, {"code": "rate_limit_exceeded", "message": "Rate limit reached"}, RateLimited),
    (400, {"code": "context_length_exceeded", "message": "too long"}, ContextOverflow),
]


@pytest.mark.parametrize(("status", "error", "kind"), VENDOR_FAILURES)
async def test_the_vendors_errors_are_told_apart(
    server: Server, provider: OpenAIProvider, status: int, error: dict[str, str], kind: type[ProviderError]
) -> None:
    headers = {"x-ratelimit-reset-tokens": "1m30s", "x-ratelimit-remaining-tokens": "0"}
    server.answers = [Answer({"error": {"type": "error", "param": None, **error}}, status, headers)]
    with pytest.raises(ProviderError) as caught:
        await provider.ask(chat_request(model="gpt-4.1"))
    assert type(caught.value) is kind
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after_s == 90.0
