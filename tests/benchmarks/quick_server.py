"""An LLM server of both vendors' protocols that answers at once, for benchmarks: a process of its own.

python -m tests.benchmarks.quick_server        # prints its port; ends when its standard input does
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["quick_server"]

_TEXT = '{"1":[[" the",0],[" cat",9]]}'
_COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "m-served",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940},
}
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-served",
    "content": [{"type": "text", "text": _TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 900, "output_tokens": 40},
}


def _response(body: dict[str, Any]) -> bytes:
    whole = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(whole) + whole


class _Quick(asyncio.Protocol):
    """Looks at the length of a request and at its path, and at nothing else."""

    answers = {b"/chat/completions": _response(_COMPLETION), b"/messages": _response(_MESSAGE)}  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.read = transport, b""

    def data_received(self, data: bytes) -> None:
        self.read += data
        head, found, body = self.read.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        length = int(lower[lower.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self.read = body[length:]
        path = head.split(b" ", 2)[1]
        self.transport.write(next(answer for end, answer in self.answers.items() if path.endswith(end)))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Quick, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def quick_server() -> Iterator[str]:
    """The server's address while the block runs."""
    command = [sys.executable, "-m", "tests.benchmarks.quick_server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
