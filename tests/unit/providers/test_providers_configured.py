"""Providers from a job's settings: what is unknown, or of another type, is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from provider_samples import chat_request

from autointerp import registry
from autointerp.errors import BadInput, BadJob
from autointerp.protocols import ChatReply, Provider


def configured(provider: str, **settings: Any) -> Provider:
    made: Provider = registry.find("providers", provider).configured("m", settings)
    return made


def test_settings_reach_the_provider() -> None:
    assert configured("local", path="m.gguf", context=2048, threads=None).capabilities("m").context_tokens == 2048
    assert configured("local").name == "local"
    server = configured("openai_compatible", base_url="http://127.0.0.1:1/v1", name="mine", timeout_s=3, seed=False)
    assert (server.name, server.capabilities("m").seed) == ("mine", False)


WRONG = [
    ("local", {"pth": "m.gguf"}, r"unknown setting 'pth' of the provider local: known are backend, batch"),
    ("local", {"context": "8192"}, r"setting 'context' of the provider local: .*integer"),
    ("openai_compatible", {"api_key": "sk-1"}, "unknown setting 'api_key'"),
    ("openai_compatible", {"json_mode": "yes"}, "setting 'json_mode'"),
    ("openai", {"api_key": "sk-1"}, "unknown setting 'api_key' of the provider openai: known are base_url"),
    ("openai", {"reasoning_room": "much"}, "setting 'reasoning_room'"),
    ("anthropic", {"thinking": "loudly"}, "setting 'thinking' of the provider anthropic: .*'adaptive'"),
    ("anthropic", {"seed": True}, "unknown setting 'seed'"),
    ("scripted", {}, "setting 'path'"),
    ("scripted", {"path": "/nowhere.json"}, "cannot be read as a script"),
]


@pytest.mark.parametrize(("provider", "settings", "complaint"), WRONG)
def test_a_wrong_setting_is_one_line(provider: str, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadJob, match=complaint) as caught:
        configured(provider, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("provider", ["openai_compatible", "openai", "anthropic"])
@pytest.mark.parametrize("settings", [{"api_key": "sk-planted"}, {"timeout_s": "sk-planted"}])
def test_a_key_given_as_a_setting_is_not_repeated(provider: str, settings: dict[str, Any]) -> None:
    with pytest.raises(BadJob) as caught:
        configured(provider, **settings)
    assert "sk-planted" not in str(caught.value)


def test_values_that_no_type_can_refuse() -> None:
    nowhere = [(name, {"base_url": "nowhere"}) for name in ("openai_compatible", "openai", "anthropic")]
    for provider, settings in (("local", {"dtype": "int3"}), *nowhere):
        with pytest.raises(BadInput):
            configured(provider, **settings)


async def test_a_script_in_a_file(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"hello": "hi", "": "what?"}))
    provider = configured("scripted", path=str(script))
    replies = [await provider.ask(chat_request(text)) for text in ("hello", "other")]
    assert [reply.text for reply in replies if isinstance(reply, ChatReply)] == ["hi", "what?"]
    for content in ("[]", "{", '{"a": 1}'):
        script.write_text(content)
        with pytest.raises(BadJob, match="script"):
            configured("scripted", path=str(script))
