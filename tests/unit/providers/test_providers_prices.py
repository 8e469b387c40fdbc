"""What tokens cost, by hand from the price list, and by the list's own calculator for many usages."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_samples import chat_request

from autointerp.errors import BadJob
from autointerp.providers.anthropic_provider import AnthropicProvider
from autointerp.providers.anthropic_replies import read_message
from autointerp.providers.openai_compatible import OpenAICompatibleProvider
from autointerp.providers.openai_provider import OpenAIProvider
from autointerp.providers.openai_replies import read_chat
from autointerp.providers.prices import GivenPrice, Price, cost_usd, listed, most_usd, price_of
from autointerp.providers.scripted import ScriptedProvider
from autointerp.types import Usage

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def price(vendor: str, model: str) -> Price:
    found = listed(vendor, model)
    assert found is not None
    return found


def openai_usage(**usage: object) -> Usage:
    body = {
        "model": "m",
        "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
        "usage": usage,
    }
    return read_chat(json.dumps(body), chat_request()).usage


def anthropic_usage(**usage: object) -> Usage:
    body = {
        "type": "message",
        "model": "m",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "x"}],
        "usage": usage,
    }
    return read_message(json.dumps(body)).usage


def test_openai_counts_cached_tokens_in_the_prompt_and_reasoning_in_the_output() -> None:
    """gpt-4.1-mini: 0.40 in, 0.10 cached, 1.60 out; in a batch 0.20 and 0.80, the cache as ever."""
    usage = openai_usage(
        prompt_tokens=1000,
        completion_tokens=100,
        total_tokens=1100,
        prompt_tokens_details={"cached_tokens": 400},
        completion_tokens_details={"reasoning_tokens": 30},
    )
    mini = price("openai", "gpt-4.1-mini")
    assert cost_usd(mini, usage, NOW) == Decimal("0.000440")  # 600 x 0.40 + 400 x 0.10 + 100 x 1.60 = 440
    assert cost_usd(mini, usage, NOW, batch=True) == Decimal("0.000240")  # 600 x 0.20 + 400 x 0.10 + 100 x 0.80


def test_anthropic_counts_cached_tokens_beside_the_input() -> None:
    """claude-haiku-4-5: 1.00 in, 0.10 read, 1.25 written, 5.00 out; in a batch half of each."""
    usage = anthropic_usage(
        input_tokens=100, cache_read_input_tokens=2000, cache_creation_input_tokens=1000, output_tokens=50
    )
    haiku = price("anthropic", "claude-haiku-4-5")
    assert usage.prompt_tokens == 3100
    assert cost_usd(haiku, usage, NOW) == Decimal("0.001800")  # 100 + 200 + 1250 + 250
    assert cost_usd(haiku, usage, NOW, batch=True) == Decimal("0.000900")


def test_a_long_prompt_costs_more_for_every_token() -> None:
    """claude-haiku-5-5: 0.10 in, 0.50 out up to 100,000 tokens of prompt, cached ones counted; 0.50 and 2.50 above."""
    haiku = price("anthropic", "claude-haiku-5-5")
    assert cost_usd(haiku, Usage(100_000, 1000), NOW) == Decimal("0.0105")
    assert cost_usd(haiku, Usage(100_001, 1000), NOW) == Decimal("0.0525005")
    # 1 fresh at 0.50, 100,000 read at 0.05
    assert cost_usd(haiku, Usage(100_001, 0, 100_000), NOW) == Decimal("0.0050005")


def test_the_price_is_that_of_the_day() -> None:
    """o3 cost 10 and 40 until 2025-06-10, and 2 and 8 since."""
    before, since = (cost_usd(price("openai", "o3"), Usage(1_000_000, 1_000_000), day) for day in (
        datetime(2025, 6, 9, tzinfo=UTC), datetime(2025, 6, 10, tzinfo=UTC)
    ))  # fmt: skip
    assert (before, since) == (Decimal(50), Decimal(10))


@st.composite
def usages(draw: Callable[..., int]) -> Usage:
    read, written, fresh = (draw(st.integers(0, 400_000)) for _ in range(3))
    return Usage(read + written + fresh, draw(st.integers(0, 50_000)), read, written)


MODELS = [
    ("openai", "gpt-4.1-mini"),
    ("openai", "gpt-5.5"),
    ("openai", "gpt-6-luna"),
    ("openai", "o1"),
    ("anthropic", "claude-haiku-4-5"),
    ("anthropic", "claude-haiku-5-5"),
    ("anthropic", "claude-sonnet-4-5"),
    ("deepseek", "deepseek-chat"),
    ("perplexity", "sonar"),
]


@settings(max_examples=60)
@given(st.sampled_from(MODELS), usages(), st.integers(0, 24 * 60), st.booleans())
def test_costs_are_those_of_the_lists_own_calculator(
    model: tuple[str, str], usage: Usage, minute: int, batch: bool
) -> None:
    vendor, name = model
    at = NOW + timedelta(minutes=minute)
    counted = ListUsage(
        input_tokens=usage.prompt_tokens,
        cache_read_tokens=usage.cached_prompt_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.completion_tokens,
    )
    context = {"processing": "batch"} if batch else None
    theirs = calc_price(
        counted, name, provider_id=vendor, genai_request_timestamp=at, price_context=context
    ).total_price
    ours = cost_usd(price(vendor, name), usage, at, batch=batch)
    if usage == Usage():
        assert not ours  # nothing was asked: the calculator still counts a request
    elif ours is None:
        assert batch
        assert theirs == calc_price(counted, name, provider_id=vendor, genai_request_timestamp=at).total_price
    else:
        assert ours == theirs


@settings(max_examples=60)
@given(
    st.sampled_from([price(*model) for model in MODELS] + [GivenPrice(1.0, 2.0, 3.0, 4.0)]),
    usages(),
    st.floats(0, 1),
    st.integers(0, 24 * 60),
)
def test_no_call_costs_more_than_the_most(one: Price, usage: Usage, hidden: float, later: int) -> None:
    """Whatever is cached, written or hidden of that many tokens, and however long it waited on that day."""
    reserved = most_usd(one, usage.prompt_tokens, usage.completion_tokens, NOW)
    reasoning = round(hidden * usage.completion_tokens)
    real = Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_prompt_tokens,
        usage.cache_write_tokens,
        reasoning,
    )
    cost = cost_usd(one, real, NOW + timedelta(minutes=later % (12 * 60)))
    assert cost is not None
    assert cost <= reserved


def test_servers_that_count_apart_are_billed_for_all() -> None:
    """Tokens of a cache beside the prompt and not in it; reasoning that only the total holds."""
    one = GivenPrice(1.0, 10.0, 0.5)
    assert cost_usd(one, Usage(100, 0, 4000), NOW) == Decimal("0.0021")  # 100 x 1 + 4000 x 0.5
    usage = openai_usage(prompt_tokens=100, completion_tokens=10, total_tokens=150)
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 50)
    assert openai_usage(prompt_tokens=100, completion_tokens=10).completion_tokens == 10
    assert openai_usage(total_tokens=150) == Usage()


def test_a_given_price_goes_before_the_list_and_says_what_it_does_not_know() -> None:
    given_price = GivenPrice(2.0, 8.0, cache_write_per_million=2.5)
    assert price_of(OpenAIProvider(), "gpt-4.1-mini", given_price) is given_price
    assert cost_usd(given_price, Usage(1000, 100, 300, 200, 40), NOW) == Decimal(
        "0.0029"
    )  # 500x2 + 300x2 + 200x2.5 + 800
    assert cost_usd(given_price, Usage(1000, 100), NOW, batch=True) is None
    assert cost_usd(GivenPrice(2.0, 8.0, batch_factor=0.5), Usage(1000, 100), NOW, batch=True) == Decimal("0.0014")
    assert cost_usd(given_price, Usage(), NOW) == 0


def test_who_is_billed_by_which_list() -> None:
    sold = price_of(OpenAIProvider(base_url="https://eu.api.openai.com/v1"), "gpt-4.1-mini-2025-04-14")
    assert sold is not None
    assert sold.source.endswith(": openai gpt-4.1-mini")
    routed = price_of(OpenAICompatibleProvider(base_url="https://openrouter.ai/api/v1"), "openai/gpt-4.1-mini")
    assert routed is not None
    assert "openrouter" in routed.source
    for address in ("http://127.0.0.1:8000/v1", "http://localhost:11434/v1", "https://llm.example.org/v1"):
        assert price_of(OpenAICompatibleProvider(base_url=address), "gpt-4.1-mini") is None
    assert price_of(ScriptedProvider({}), "gpt-4.1-mini") is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        (OpenAIProvider(), "gpt-99-unheard-of"),
        (OpenAIProvider(), "ft:gpt-4.1-mini:org::x"),
        (OpenAIProvider(), "whisper-1"),  # sold by the hour
        (AnthropicProvider(), "claude-unheard-of"),
        (OpenAICompatibleProvider(base_url="https://openrouter.ai/api/v1"), "nobody/nothing"),
    ],
)
def test_a_vendors_model_without_a_price_is_refused_in_one_line(provider: OpenAIProvider, model: str) -> None:
    with pytest.raises(BadJob, match="is not known: give it in the job file as price = ") as refused:
        price_of(provider, model)
    assert model in str(refused.value)
    assert "\n" not in str(refused.value)
