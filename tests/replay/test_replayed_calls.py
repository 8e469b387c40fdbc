"""Single calls of each provider, as a real server answered them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from replay.conftest import ADDRESS, Recorded
from vcr.errors import CannotOverwriteExistingCassetteException

from autointerp.errors import ContextOverflow, NotFound, ProviderRefused, Transient, Unsupported
from autointerp.protocols import ChatReply, ChatRequest, EchoRequest, Message, Provider, Reply, Request
from autointerp.providers import AnthropicProvider, OpenAICompatibleProvider, OpenAIProvider

pytestmark = [pytest.mark.vcr, pytest.mark.block_network]

# What may be sent is set by hand: a model of an unknown name is otherwise asked for nothing special.
MAKERS: dict[str, Callable[[str], Provider]] = {
    "openai": lambda address: OpenAIProvider(
        base_url=f"{address}/v1", temperature=True, seed=True, json_mode=True, logprobs=True, reasoning_room=0
    ),
    "anthropic": lambda address: AnthropicProvider(base_url=address, temperature=True, thinking_room=0),
}
QUESTION = (Message("system", "You answer in one short sentence."), Message("user", "What is a neuron?"))


def ask(provider: Provider, request: Request) -> Reply:
    async def asked() -> Reply:
        try:
            return await provider.ask(request)
        finally:
            await provider.close()

    return asyncio.run(asked())


def chat(vendor: str, recorded: Recorded, messages: tuple[Message, ...] = QUESTION, **settings: Any) -> ChatReply:
    request = ChatRequest(recorded.model, messages, **{"max_tokens": 40, "temperature": 0.0, **settings})
    reply = ask(MAKERS[vendor](recorded.address), request)
    assert isinstance(reply, ChatReply)
    return reply


def test_a_conversation(vendor: str, recorded: Recorded) -> None:
    seed = 7 if vendor == "openai" else None
    reply = chat(vendor, recorded, temperature=0.7, seed=seed)
    assert "neuron" in reply.text.lower()
    assert reply.finish == "stop"
    assert reply.model_served
    assert reply.usage.prompt_tokens > 10
    assert 0 < reply.usage.completion_tokens <= 40


def test_a_reply_that_is_cut_at_its_limit(vendor: str, recorded: Recorded) -> None:
    reply = chat(vendor, recorded, max_tokens=3)
    assert reply.finish == "length"
    assert reply.usage.completion_tokens == 3


def test_a_stop_sequence(vendor: str, recorded: Recorded) -> None:
    if vendor == "openai":
        with pytest.raises(Unsupported, match="stop sequences"):  # of an unknown model
            chat(vendor, recorded, stop=("four",))
        return
    reply = chat(vendor, recorded, (Message("user", "Count from one to ten in words."),), stop=("four", "Four"))
    assert reply.finish == "stop"
    assert "three" in reply.text.lower()
    assert "four" not in reply.text.lower()


def test_an_address_without_the_protocol(vendor: str, recorded: Recorded) -> None:
    elsewhere = Recorded(f"{recorded.address}/nothing-here", recorded.model)
    with pytest.raises(ProviderRefused) as caught:
        chat(vendor, elsewhere)
    assert type(caught.value) is NotFound
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("vendor", ["openai"], indirect=True)
def test_log_probabilities_of_what_is_generated(vendor: str, recorded: Recorded) -> None:
    reply = chat(vendor, recorded, top_logprobs=3)
    assert "".join(token.token for token in reply.logprobs).strip() == reply.text.strip()
    for token in reply.logprobs:
        assert token.logprob <= 0
        assert 2 <= len(token.top) <= 3  # two tokens may have one text, as those that end a message have
        assert token.logprob == max(token.top.values())  # at temperature 0 the likeliest is taken


@pytest.mark.parametrize("vendor", ["openai"], indirect=True)
def test_json_mode(vendor: str, recorded: Recorded) -> None:
    question = (Message("user", 'The colours of a traffic light as a JSON object with one key, "colours".'),)
    reply = chat(vendor, recorded, question, json_mode=True)
    assert len(json.loads(reply.text)["colours"]) == 3


@pytest.mark.parametrize("vendor", ["openai"], indirect=True)
def test_a_prompt_longer_than_the_models_context(vendor: str, recorded: Recorded) -> None:
    with pytest.raises(ContextOverflow):
        chat(vendor, recorded, (Message("user", "word " * 6000),))


@pytest.mark.parametrize("vendor", ["openai"], indirect=True)
def test_a_server_without_prompt_log_probabilities(vendor: str, recorded: Recorded) -> None:
    """It takes `echo` and ignores it: the reply alone says so."""
    provider = OpenAICompatibleProvider(base_url=f"{recorded.address}/v1", echo_format="chatml")
    messages = (Message("user", "Levels, please."), Message("assistant", "cat\t9\n"))
    with pytest.raises(Unsupported, match="no log-probabilities of the prompt with `echo`"):
        ask(provider, EchoRequest(recorded.model, messages, (4,), ("0", "9")))


def test_what_was_not_recorded_is_not_answered(vendor: str, recorded: Recorded, record_mode: str) -> None:
    """Nor asked of a network. One SDK passes on what the replay raises, the other takes it for a lost connection."""
    if record_mode != "none":
        pytest.skip("this is about replays")
    with pytest.raises((CannotOverwriteExistingCassetteException, Transient)):
        chat(vendor, Recorded(ADDRESS, recorded.model), (Message("user", "Never asked."),))
