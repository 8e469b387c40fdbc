"""An answer that came inside a batch, seen by the vendor's SDK as if it had come by itself.

So an error in a batch becomes the same error as in a live call: by the SDK's own classes and this project's own map.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2

__all__ = ["answering", "sealed"]

_ADDRESS = "http://batch.invalid"  # reserved (RFC 2606), and never asked: see `answering`


def sealed(status: int, body: Any) -> dict[str, Any]:
    """A request that `answering` answers with this status and body."""
    return {"status": status, "body": body}


def answering() -> tuple[str, httpx2.AsyncClient]:
    """An address, and an HTTP client that opens no connection: it answers as its request says."""
    import httpx2

    def answer(request: httpx2.Request) -> httpx2.Response:
        told = json.loads(request.content)
        return httpx2.Response(told["status"], json=told["body"])

    return _ADDRESS, httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
