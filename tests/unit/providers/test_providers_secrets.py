"""A key is planted and looked for everywhere it could come out, whatever goes wrong."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_server import Answer, Server
from provider_samples import chat_request

from autointerp.errors import Authentication, ProviderError
from autointerp.protocols import Provider
from autointerp.providers.anthropic_provider import AnthropicProvider
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_export import export_jsonl
from autointerp.providers.model import LedgeredModel
from autointerp.providers.openai_compatible import OpenAICompatibleProvider
from autointerp.providers.openai_provider import OpenAIProvider
from autointerp.providers.retries import RetryPolicy

SECRET = "sk-planted-0123456789abcdef"
MODEL = "claude-haiku-4-5"
MAKERS: dict[str, Callable[[str], Provider]] = {
    "openai_compatible": lambda url: OpenAICompatibleProvider(base_url=url, key_variable="PLANTED", timeout_s=5.0),
    "openai": lambda url: OpenAIProvider(base_url=url, key_variable="PLANTED", timeout_s=5.0),
    "anthropic": lambda url: AnthropicProvider(base_url=url.removesuffix("/v1"), key_variable="PLANTED", timeout_s=5.0),
}
SAID = f"Incorrect API key provided: {SECRET}."  # a server that repeats what it was given
LOUD: dict[str, Any] = {
    "type": "error",
    "error": {"message": SAID, "type": "authentication_error", "param": SAID, "code": SAID},
}
ANSWERS = {
    "wrong key": Answer(LOUD, 401),
    "not allowed": Answer(LOUD, 403),
    "rate limit": Answer(LOUD, 429),
    "server error": Answer(SAID.encode(), 500, content_type="text/plain"),
    "an error with status 200": Answer(LOUD),
    "HTML with status 200": Answer(f"<html>{SAID}</html>".encode(), content_type="text/html"),
    "cut": Answer(LOUD, cut=3),
    "dropped": Answer(b"", dropped=True),
    "a list": Answer([SAID]),
}


@pytest.fixture(params=MAKERS)
async def provider(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Provider]:
    monkeypatch.setenv("PLANTED", f" {SECRET}\n")  # as a file read into a variable leaves it
    made = MAKERS[request.param](server.url)
    yield made
    await made.close()


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def shown(error: BaseException) -> list[str]:
    """All that a log, a debugger's page or a person could print of an error, with the local variables of our frames."""
    told = [text for one in chain(error) for text in (str(one), repr(one), repr(one.args), repr(vars(one)))]
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in whole.stack if "/tests/" not in frame.filename]
    assert ours
    return [*told, *traceback.format_exception(error), *(str(frame.locals) for frame in ours)]


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_error_tells_the_key(
    server: Server, provider: Provider, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server.answers = [ANSWERS[answer]]
    with pytest.raises(ProviderError) as caught:
        await provider.ask(chat_request(model=MODEL, temperature=None))
    assert server.asked[0][1]["authorization"] == f"Bearer {SECRET}"
    behind = {type(one).__module__.split(".")[0] for one in chain(caught.value)}
    assert behind <= {
        "autointerp",
        "json",
        "builtins",
    }  # the SDK's errors and the transport's hold the request, and so the key
    told = [*shown(caught.value), repr(provider), repr(vars(provider)), caplog.text]
    assert not [text for text in told if SECRET in text]


async def test_nothing_on_the_disk_tells_the_key(
    server: Server, provider: Provider, ledger: Ledger, tmp_path: Path
) -> None:
    server.answers = [*ANSWERS.values()]
    model = LedgeredModel(provider, MODEL, ledger, retries=RetryPolicy(attempts=1, max_wait_s=0))
    for text in ANSWERS:
        with pytest.raises(ProviderError):
            await model.chat(chat_request(text, model=MODEL, temperature=None))
    assert ledger.statistics().failed == len(ANSWERS) + 1  # the wait that was not allowed is recorded as well
    export_jsonl(ledger, tmp_path / "export.jsonl")
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert files
    assert not [content for content in files if SECRET.encode() in content]


@pytest.mark.parametrize("key", [f"{SECRET}é", f"{SECRET}\n{SECRET}", f"Bearer {SECRET}", f"{SECRET}\t."])
@pytest.mark.parametrize("name", MAKERS)
async def test_what_cannot_be_a_key_is_refused_without_repeating_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, key: str
) -> None:
    monkeypatch.setenv("PLANTED", key)
    provider = MAKERS[name](server.url)
    with pytest.raises(Authentication, match="the environment variable PLANTED holds no key") as caught:
        await provider.ask(chat_request(model=MODEL, temperature=None))
    assert not [text for text in shown(caught.value) if SECRET in text]
    assert server.asked == []
