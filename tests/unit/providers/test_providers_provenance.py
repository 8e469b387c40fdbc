"""What stands behind a value made by a vendor's model: the settings that were sent, who served it, and what it cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from loopback_server import Answer, Server

from autointerp.errors import Unsupported
from autointerp.pipeline import Method, explain
from autointerp.presets import OPENAI
from autointerp.protocols import Provider
from autointerp.providers.anthropic_provider import AnthropicProvider
from autointerp.providers.ledger import Ledger
from autointerp.providers.model import LedgeredModel
from autointerp.providers.openai_provider import OpenAIProvider
from autointerp.types import Explanation, Usage
from tests.support.method import make_record, make_unit_record

UNIT = make_unit_record([make_record(["in", " May", "."], [0.0, 4.0, 0.0], number=n) for n in range(5)], [])
UNSENT = {"simulator": "json", "explainer_temperature": "none", "simulator_temperature": "none"}
COMPLETION = {
    "model": "gpt-5-2025-08-07",
    "choices": [{"message": {"role": "assistant", "content": "months"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 900,
        "completion_tokens": 70,
        "prompt_tokens_details": {"cached_tokens": 512},
        "completion_tokens_details": {"reasoning_tokens": 64},
    },
}
MESSAGE = {
    "type": "message",
    "model": "claude-haiku-4-5-20251001",
    "content": [{"type": "text", "text": "months"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 20, "cache_creation_input_tokens": 880, "output_tokens": 6},
}
VENDORS: dict[str, tuple[Any, str, dict[str, Any], str, str, Usage]] = {
    "openai": (
        lambda url: OpenAIProvider(base_url=url, key_variable="", reasoning_effort="low"),
        "gpt-5",
        COMPLETION,
        "openai[reasoning_effort=low]",
        "gpt-5-2025-08-07",
        Usage(900, 70, 512, 0, 64),
    ),
    "anthropic": (
        lambda url: AnthropicProvider(base_url=url.removesuffix("/v1"), key_variable=""),
        "claude-haiku-4-5",
        MESSAGE,
        "anthropic",
        "claude-haiku-4-5-20251001",
        Usage(900, 6, 0, 880, 0),
    ),
}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_explanation_says_what_was_sent_who_served_it_and_what_it_used(
    server: Server, ledger: Ledger, vendor: str
) -> None:
    make, name, answer, provider_name, served, usage = VENDORS[vendor]
    server.answers = [Answer(answer)]
    provider: Provider = make(server.url)
    model = LedgeredModel(provider, name, ledger)
    with pytest.raises(Unsupported, match='simulator_temperature = "none"'):
        Method.of(OPENAI.with_settings({"simulator": "json"})).check(model)
    method = Method.of(OPENAI.with_settings(UNSENT))
    method.check(model)
    told = await explain(method, UNIT, model, 0)
    assert isinstance(told, Explanation)
    provenance = told.provenance
    assert (provenance.provider, provenance.model_asked, provenance.model_served) == (provider_name, name, served)
    assert (provenance.settings["temperature"], provenance.usage) == (None, usage)
    assert "temperature" not in server.asked[0][2]

    # The ledger gives the same again, hidden and written tokens included, and its rows hold the whole request.
    again = await explain(method, UNIT, LedgeredModel(provider, name, ledger, replay_only=True), 0)
    assert again == told
    [row] = ledger.rows()
    assert row["key"] == provenance.request_keys[0]
    assert json.loads(row["request"])["temperature"] is None
    await provider.close()
