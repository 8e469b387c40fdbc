"""Connections to a server: one for each call that is open, none of which looks at the others."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from urllib.request import getproxies

import httpx2

__all__ = ["OneEach", "http_client", "until_whole"]

_KEPT_ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5))
    if hasattr(socket, name)
]
"""A call may be silent for minutes, and what stands between must not forget it."""


def http_client(make: Callable[..., httpx2.AsyncClient]) -> httpx2.AsyncClient:
    """A client for an SDK. make: its own (`DefaultAsyncHttpxClient`).

    The environment may name a proxy for the server, or for some servers: the SDK's client sees to that, and is left as
    it is then.
    """
    if set(getproxies()) - {"no"}:
        return make()
    return make(transport=OneEach())


def until_whole(timeout_s: float) -> httpx2.Timeout:
    """For an SDK whose calls are bounded from outside until the answer is whole: only connecting has a bound here."""
    return httpx2.Timeout(None, connect=timeout_s)


class OneEach(httpx2.AsyncBaseTransport):
    """A transport that keeps each connection in a pool of its own.

    The usual pool goes through all its connections twice a call and asks the system about every idle one, which took a
    fifth of the engine's time where sixteen calls are answered at once. Here a call takes the connection that was given
    back last, or a new one, and gives it back when its answer is closed. So there are as many connections as calls were
    ever open at once, which `Pacing` bounds.
    """

    def __init__(self) -> None:
        self._ssl = httpx2.create_ssl_context()
        self._all: list[httpx2.AsyncHTTPTransport] = []
        self._free: list[httpx2.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        pool = self._free.pop() if self._free else self._new()
        try:
            response = await pool.handle_async_request(request)
        except BaseException:
            self._free.append(pool)
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Answer(response.stream, lambda: self._free.append(pool))
        return response

    async def aclose(self) -> None:
        for pool in self._all:
            await pool.aclose()

    def _new(self) -> httpx2.AsyncHTTPTransport:
        pool = httpx2.AsyncHTTPTransport(verify=self._ssl, socket_options=_KEPT_ALIVE)
        self._all.append(pool)
        return pool


class _Answer(httpx2.AsyncByteStream):
    """What is read of an answer. closed: called once, when nothing more is read."""

    def __init__(self, stream: httpx2.AsyncByteStream, closed: Callable[[], None]) -> None:
        self._stream = stream
        self._closed: Callable[[], None] | None = closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        closed, self._closed = self._closed, None
        try:
            await self._stream.aclose()
        finally:
            if closed is not None:
                closed()
