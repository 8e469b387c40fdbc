"""The OpenAI-compatible provider against a server on this machine: each way to answer has its own end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
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
from autointerp.protocols import ChatReply, EchoReply, Message, Provider, TokenLogprobs
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_export import export_jsonl
from autointerp.providers.model import LedgeredModel
from autointerp.providers.openai_compatible import OpenAICompatibleProvider
from autointerp.providers.openai_errors import ERRORS
from autointerp.providers.retries import RetryPolicy
from autointerp.types import Usage

SECRET = "sk-planted-0123456789abcdef"


@pytest.fixture
async def provider(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAICompatibleProvider]:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    made = OpenAICompatibleProvider(base_url=server.url, timeout_s=20.0)
    yield made
    await made.close()


def completion(text: str | None = "hi", finish: str | None = "stop", **changes: Any) -> dict[str, Any]:
    """A chat completion as OpenAI documents it."""
    message = {"role": "assistant", "content": text, "refusal": changes.pop("refusal", None)}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": changes.pop("logprobs", None)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2026-01-01",
        "choices": [choice],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
        **changes,
    }


def failure(message: str = "no", **fields: object) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": None, "code": None, **fields}}


async def test_a_reply_with_its_usage_and_the_model_that_served_it(
    server: Server, provider: OpenAICompatibleProvider
) -> None:
    server.answers = [Answer(completion("hello"))]
    assert isinstance(provider, Provider)
    assert await provider.ask(chat_request()) == ChatReply("hello", "stop", "m-2026-01-01", Usage(9, 3, 4))
    [(path, headers, body)] = server.asked
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 8,
        "temperature": 0.0,
    }


async def test_every_setting_is_sent_and_an_unset_one_is_not(server: Server) -> None:
    server.answers = [Answer(completion(logprobs={"content": [{"token": "h", "logprob": -0.1, "top_logprobs": []}]}))]
    provider = OpenAICompatibleProvider(base_url=server.url, key_variable="", length_field="max_completion_tokens")
    await provider.ask(chat_request(temperature=None, seed=5, stop=("END",), json_mode=True, top_logprobs=3, sample=2))
    body = server.asked[0][2]
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == {
        "max_completion_tokens": 8,
        "seed": 5,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "top_logprobs": 3,
    }
    await provider.close()


async def test_what_the_server_is_said_not_to_obey_is_refused_before_it_is_asked(server: Server) -> None:
    provider = OpenAICompatibleProvider(base_url=server.url, json_mode=False, seed=False, logprobs=False)
    for changes in ({"json_mode": True}, {"seed": 1}, {"top_logprobs": 1}):
        with pytest.raises(Unsupported):
            await provider.ask(chat_request(**changes))
    with pytest.raises(Unsupported, match="log-probabilities of prompts"):
        await provider.ask(echo_request())
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (completion("cut sho", "length"), ("cut sho", "length")),
        (completion(None, "length"), ("", "length")),  # a reasoning model that used up its room
        (completion(None, "stop", refusal="I cannot."), ("I cannot.", "refusal")),
        (completion(None, "content_filter"), ("", "content_filter")),
        (completion("", "stop"), ("", "stop")),
    ],
)
async def test_truncation_and_refusal_are_replies_that_say_so(
    server: Server, provider: OpenAICompatibleProvider, answer: object, expected: tuple[str, str]
) -> None:
    server.answers = [Answer(answer)]
    reply = await provider.ask(chat_request())
    assert isinstance(reply, ChatReply)
    assert (reply.text, reply.finish) == expected


LLAMA_CPP = failure("the request exceeds the available context size", type="exceed_context_size_error")
FAILURES = {
    "wrong key": (Answer(failure("bad key"), 401), Authentication),
    "not allowed": (Answer(failure("not allowed"), 403), Authentication),
    "payment required": (Answer(failure("pay"), 402), Quota),
    "insufficient quota": (Answer(failure("quota", code="insufficient_quota"), 429), Quota),
    "rate limit": (Answer(failure("slow"), 429), RateLimited),
    "request timeout": (Answer(failure("timeout"), 408), Transient),
    "conflict": (Answer(failure("conflict"), 409), Transient),
    "server error": (Answer(failure("down"), 500), Transient),
    "HTML of a gateway": (Answer(b"<html>bad gateway</html>", 502, content_type="text/html"), Transient),
    "unavailable": (Answer(failure("busy"), 503), Transient),
    "overloaded": (Answer(failure("overloaded"), 529), Transient),
    "bad request": (Answer(failure("no such field"), 400), ProviderRefused),
    "no such model": (Answer(failure("no such model"), 404), NotFound),
    "unprocessable": (Answer(failure("unprocessable"), 422), ProviderRefused),
    "payload too large": (Answer(failure("too big"), 413), ContextOverflow),
    "too long for OpenAI": (Answer(failure("long", code="context_length_exceeded"), 400), ContextOverflow),
    "too long for vLLM": (Answer(failure("This model's maximum context length is 512."), 400), ContextOverflow),
    "too long for llama.cpp": (Answer(LLAMA_CPP, 400), ContextOverflow),
    "connection cut": (Answer(completion(), cut=7), Transient),
    "HTML with status 200": (Answer(b"<html>hello</html>", content_type="text/html"), BadReply),
    "cut JSON": (Answer(json.dumps(completion()).encode()[:-9]), BadReply),
    "nothing": (Answer(b""), BadReply),
    "a list": (Answer([1]), BadReply),
    "empty choices": (Answer(completion(choices=[])), BadReply),
    "no choices": (Answer({"object": "chat.completion"}), BadReply),
    "an error with status 200": (Answer(failure("in disguise")), BadReply),
    "no message": (Answer(completion(choices=[{"index": 0, "finish_reason": "stop"}])), BadReply),
    "no text": (Answer(completion(None)), BadReply),
    "no finish reason": (Answer(completion("text", None)), BadReply),
    "usage that is no count": (Answer(completion(usage="many")), BadReply),
    "usage that is no number": (Answer(completion(usage={"prompt_tokens": "9"})), BadReply),
    "usage below nothing": (Answer(completion(usage={"completion_tokens": -1})), BadReply),
    "JSON without end": (Answer(b"[" * 200_000), BadReply),
    "no answer": (Answer(b"", dropped=True), Transient),
    "not what its header says": (Answer(b"plain", headers={"content-encoding": "gzip"}), Transient),
    "overloaded and says when": (Answer(failure("overloaded"), 503, {"retry-after": "3"}), Transient),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_every_failure_has_its_own_class_and_is_asked_once(
    server: Server, provider: OpenAICompatibleProvider, name: str
) -> None:
    answer, kind = FAILURES[name]
    server.answers = [answer]
    with pytest.raises(ProviderError) as caught:
        await provider.ask(chat_request())
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 1  # the SDK's own retries are off


async def test_a_filtered_prompt_does_not_stop_the_job(server: Server, provider: OpenAICompatibleProvider) -> None:
    server.answers = [Answer(failure("filtered", code="content_filter"), 400)]
    with pytest.raises(ProviderError) as caught:
        await provider.ask(chat_request())
    assert not isinstance(caught.value, (ProviderRefused, Transient))


async def test_nobody_there_and_no_answer_in_time(server: Server) -> None:
    nobody = OpenAICompatibleProvider(base_url="http://127.0.0.1:9/v1", key_variable="")
    with pytest.raises(Transient):
        await nobody.ask(chat_request())
    await nobody.close()
    for answer, timeout_s in ((Answer(completion(), cut=1), 0.001), (Answer(completion(), trickle_s=0.05), 0.3)):
        server.answers = [answer]  # a trickle never keeps the transport waiting, and still has to end
        impatient = OpenAICompatibleProvider(base_url=server.url, key_variable="", timeout_s=timeout_s)
        with pytest.raises(Transient):
            await impatient.ask(chat_request())
        await impatient.close()


async def test_a_rate_limit_carries_the_servers_wait(server: Server, provider: OpenAICompatibleProvider) -> None:
    server.answers = [Answer(failure(), 429, {"Retry-After": "17"}), Answer(failure(), 429)]
    waits = []
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            await provider.ask(chat_request())
        waits.append(caught.value.retry_after_s)
    assert waits == [17.0, None]


def test_every_exception_of_the_installed_sdk_is_mapped() -> None:
    exported = [getattr(openai, name) for name in openai.__all__]
    errors = {kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)}
    assert len(errors) >= 15
    assert errors == set(ERRORS)


async def test_generated_log_probabilities(server: Server, provider: OpenAICompatibleProvider) -> None:
    token = {"token": "h", "logprob": -0.1234567, "top_logprobs": [{"token": "h", "logprob": -0.1234567}]}
    server.answers = [Answer(completion(logprobs={"content": [token]})), Answer(completion())]
    reply = await provider.ask(chat_request(top_logprobs=1))
    assert isinstance(reply, ChatReply)
    assert reply.logprobs == (TokenLogprobs("h", -0.12346, {"h": -0.12346}),)
    with pytest.raises(Unsupported, match="though it was asked"):
        await provider.ask(chat_request(top_logprobs=1))


def echoed(tokens: list[str], top: list[dict[str, float] | None]) -> dict[str, Any]:
    """A completion with `echo`: each token of prompt and answer, where it begins, and its alternatives."""
    offsets = [len("".join(tokens[:place])) for place in range(len(tokens))]
    logprobs = {"tokens": tokens, "text_offset": offsets, "token_logprobs": [None] * len(tokens), "top_logprobs": top}
    return {"model": "served", "choices": [{"text": "", "logprobs": logprobs, "finish_reason": "length"}]}


async def test_prompt_log_probabilities_of_a_server_that_echoes(server: Server) -> None:
    provider = OpenAICompatibleProvider(base_url=server.url, key_variable="", echo_format="plain", echo_alternatives=5)
    assert provider.capabilities("m").prompt_logprobs
    tokens = ["levels", "\n\n", "a\t", "_", "\nb\t", "_", "\n", "!"]
    top = [None, {}, {}, {"0": -0.1000004, "1": -2.0}, {}, {"1": -3, "7": -0.2}, {}, {}]
    server.answers = [Answer(echoed(tokens, top))]
    reply = await provider.ask(echo_request())
    assert reply == EchoReply(((-0.1, -2.0), (None, -3.0)), "served", Usage())
    path, _, body = server.asked[0]
    assert path == "/v1/completions"
    assert body["prompt"] == "levels\n\na\t_\nb\t_\n"
    assert (body["echo"], body["logprobs"], body["max_tokens"], body["temperature"]) == (True, 5, 1, 0.0)

    server.answers = [Answer(echoed(["levels\n\n", "a", "\t_", "\nb\t", "_\n", "!"], [None, *[{}] * 5]))]
    with pytest.raises(Unsupported, match=r"slot after 'a\\t'"):
        await provider.ask(echo_request())
    server.answers = [Answer(completion())]
    with pytest.raises(Unsupported, match="with `echo`"):
        await provider.ask(echo_request())
    await provider.close()


PROMPTS = {
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA\t.",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA\t.",
    "plain": "S\n\nU\n\nA\t.",
}


@pytest.mark.parametrize("name", PROMPTS)
async def test_formats_of_prompts(server: Server, name: str) -> None:
    messages = (Message("system", "S"), Message("user", "U"), Message("assistant", "A\t."))
    server.answers = [Answer(echoed([PROMPTS[name][:-1], "."], [None, {"0": -1.0}]))]
    provider = OpenAICompatibleProvider(base_url=server.url, key_variable="", echo_format=name)
    reply = await provider.ask(echo_request(messages=messages, slots=(2,)))
    assert server.asked[0][2]["prompt"] == PROMPTS[name]
    assert isinstance(reply, EchoReply)
    assert reply.logprobs == ((-1.0, None),)
    await provider.close()


def test_addresses_and_formats_that_are_none() -> None:
    with pytest.raises(BadInput, match="not the address"):
        OpenAICompatibleProvider(base_url="localhost:8000")
    with pytest.raises(BadInput, match="known are chatml"):
        OpenAICompatibleProvider(echo_format="alpaca")


async def test_a_missing_key_is_named_by_its_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(Authentication, match="environment variable MY_KEY"):
        await OpenAICompatibleProvider(base_url=server.url, key_variable="MY_KEY").ask(chat_request())
    assert server.asked == []


async def test_the_key_is_nowhere_but_in_the_header(
    server: Server, provider: OpenAICompatibleProvider, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    loud = failure(f"Incorrect API key provided: {SECRET}.")  # a server that repeats what it was given
    server.answers = [Answer(loud, 401), Answer(loud, 403), Answer(loud), Answer(completion())]
    model = LedgeredModel(provider, "m", ledger, retries=RetryPolicy(bad_replies=1))
    seen = [repr(provider), repr(model)]
    for text in ("one", "two", "three"):
        with pytest.raises(ProviderError) as caught:
            await model.chat(chat_request(text))
        error = caught.value
        seen += [str(error), repr(error), repr(error.__cause__), repr(vars(provider))]
    await model.chat(chat_request("four"))
    assert (ledger.statistics().failed, ledger.statistics().answered) == (3, 1)
    export_jsonl(ledger, tmp_path / "export.jsonl")
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert files
    assert all(headers["authorization"].endswith(SECRET) for _, headers, _ in server.asked)
    assert not any(SECRET.encode() in content for content in files)
    assert not any(SECRET in text for text in [*seen, caplog.text])
