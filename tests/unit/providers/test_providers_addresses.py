"""An error of a call says which server was asked and how to mend it, and nothing secret that an address can hold."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from loopback_server import Answer, Server
from provider_samples import chat_request, echo_request

from autointerp.errors import BadInput, BadReply, NotFound, ProviderError, Transient
from autointerp.protocols import Provider, Request
from autointerp.providers.anthropic_provider import AnthropicProvider
from autointerp.providers.openai_compatible import OpenAICompatibleProvider
from autointerp.providers.openai_provider import OpenAIProvider
from autointerp.providers.settings import checked_address, shown_address

PLAIN = {"temperature": None, "model": "claude-haiku-4-5"}
MAKERS: dict[str, tuple[Callable[..., Provider], str, Request]] = {
    "compatible": (OpenAICompatibleProvider, "/chat/completions", chat_request()),
    "echo": (
        lambda **settings: OpenAICompatibleProvider(**settings, echo_format="plain"),
        "/completions",
        echo_request(),
    ),
    "openai": (OpenAIProvider, "/chat/completions", chat_request(**PLAIN)),
    "anthropic": (AnthropicProvider, "/v1/messages", chat_request(**PLAIN)),
}


async def failure(name: str, url: str, timeout_s: float = 20.0) -> tuple[ProviderError, str]:
    """What asking at `url` raises, and the whole address that was to be asked."""
    maker, path, request = MAKERS[name]
    provider = maker(base_url=url, key_variable="", timeout_s=timeout_s)
    with pytest.raises(ProviderError) as caught:
        await provider.ask(request)
    await provider.close()
    return caught.value, url + path


@pytest.mark.parametrize("name", MAKERS)
async def test_nobody_there(name: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        error, address = await failure(name, f"http://127.0.0.1:{free.getsockname()[1]}/v1")
    assert isinstance(error, Transient)
    assert str(error).startswith(f"{address}: no answer (is the server running")
    assert "base_url" in str(error)


async def test_an_unknown_host_is_told_from_a_server_that_does_not_run() -> None:
    error, address = await failure("compatible", "http://no-such-host.invalid/v1")
    assert str(error).startswith(f"{address}: no answer")
    assert "Name or service not known" in str(error) or "name resolution" in str(error)


@pytest.mark.parametrize("name", MAKERS)
async def test_no_answer_in_time(server: Server, name: str) -> None:
    server.answers = [Answer({}, delay_s=0.5)]
    error, address = await failure(name, server.url, timeout_s=0.1)
    assert isinstance(error, Transient)
    assert str(error).startswith(f"{address}: no whole answer within 0.1 s")
    assert "timeout_s" in str(error)


@pytest.mark.parametrize("name", MAKERS)
async def test_no_such_path_or_model(server: Server, name: str) -> None:
    server.answers = [Answer({"error": {"message": "model `m` not found"}}, 404)]
    error, address = await failure(name, server.url)
    assert type(error) is NotFound
    assert str(error).startswith(f"{address}: the server knows no such address or model (check base_url")
    assert "model `m` not found" in str(error)
    assert server.asked[0][0] == address.removeprefix(server.url.removesuffix("/v1"))  # the address is the true one


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("status", [400, 401, 402, 403, 413, 429, 500, 503])
async def test_every_status_of_failure(server: Server, name: str, status: int) -> None:
    server.answers = [Answer({"error": {"message": "no"}}, status)]
    error, address = await failure(name, server.url)
    assert str(error).startswith(f"{address}: ")


@pytest.mark.parametrize("name", MAKERS)
async def test_a_web_page(server: Server, name: str) -> None:
    server.answers = [Answer(b"<html>Welcome</html>", content_type="text/html; charset=utf-8")]
    error, address = await failure(name, server.url)
    assert type(error) is BadReply
    assert str(error) == f"{address}: the answer is a web page and no reply (check the address, base_url)"


@pytest.mark.parametrize(
    ("base_url", "shown"),
    [
        ("https://api.example.org/v1", "https://api.example.org/v1/chat"),
        ("https://api.example.org/v1/", "https://api.example.org/v1/chat"),
        ("http://me:s3cret@h:8000/v1?key=s3cret#s3cret", "http://h:8000/v1/chat"),
        ("http://[::1]:8000", "http://[::1]:8000/chat"),
    ],
)
def test_a_shown_address_has_scheme_host_port_and_path_alone(base_url: str, shown: str) -> None:
    assert shown_address(base_url, "/chat") == shown


@pytest.mark.parametrize("base_url", ["http://me:s3cret@h/v1", "https://s3cret@h/v1", "https://h/v1?api-key=s3cret"])
def test_an_address_that_could_hold_a_key_is_refused_without_repeating_it(base_url: str) -> None:
    with pytest.raises(BadInput, match=r"://h/v1 .*key_variable") as caught:
        checked_address(base_url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url", ["", "h:8000/v1", "http://", "http:///v1", "http://h:port/v1", "http://[::1", "ftp://h"]
)
def test_what_is_no_address(base_url: str) -> None:
    with pytest.raises(BadInput, match="is not the address of a server"):
        checked_address(base_url)
