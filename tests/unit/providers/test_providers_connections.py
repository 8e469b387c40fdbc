"""One connection for each call that is open: opened once, used again, replaced when the server has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from openai import DefaultAsyncHttpxClient

from autointerp.providers.connections import OneEach, http_client

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi"


class Server:
    """Answers by the path that is asked, once `open` calls are there; counts connections."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.asked = 0
        self.together = 1
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.asked += 1
            while self.asked < self.together:
                await asyncio.sleep(0.001)
            writer.write(CUT if b"/cut" in head else ANSWER)
            if b"/cut" in head:
                break
        writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    found = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await found.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found
        for writer in found.connections:
            writer.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


async def test_as_many_connections_as_calls_were_open_at_once() -> None:
    async with serving() as server, httpx2.AsyncClient(transport=OneEach()) as client:
        server.together = 5  # none is answered before all five are asked
        await asyncio.gather(*(client.get(server.url) for _ in range(5)))
        assert len(server.connections) == 5
        for _ in range(7):
            assert (await client.get(server.url)).text == "hi"
        await asyncio.gather(*(client.get(server.url) for _ in range(5)))
        assert len(server.connections) == 5
        assert server.asked == 17


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    async with serving() as server, httpx2.AsyncClient(transport=OneEach()) as client:
        await client.get(server.url)
        server.connections[0].close()
        await asyncio.sleep(0.01)
        assert (await client.get(server.url)).text == "hi"
        assert len(server.connections) == 2


async def test_a_call_that_fails_or_is_cancelled_leaves_its_place_to_the_next() -> None:
    transport = OneEach()
    async with serving() as server, httpx2.AsyncClient(transport=transport) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(f"{server.url}/cut")
        server.together = 10**6
        waiting = asyncio.create_task(client.get(server.url))
        await asyncio.sleep(0.02)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        server.together = 1
        assert (await client.get(server.url)).text == "hi"
        assert len(transport._all) == len(transport._free) == 1


async def test_where_there_is_a_proxy_the_sdk_s_own_client_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with http_client(DefaultAsyncHttpxClient) as client:
            assert (await client.get("http://somewhere.invalid/")).text == "hi"
        assert proxy.asked == 1
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HTTP_PROXY")
        async with http_client(DefaultAsyncHttpxClient) as client:
            assert isinstance(client._transport, OneEach)
