"""OpenAI's Batch API: a file of requests, a batch that names it, files of results.

Sources: the API reference (files; batches; the request input and request output objects) and the guide to batches. A
file holds at most 50,000 requests and 200 MB, all to one model; a batch has 24 hours; `metadata` is given back by every
list, so a batch whose id was lost is found by our token in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from autointerp.errors import BadReply, NotFound, ProviderError, RateLimited, Transient
from autointerp.protocols import ChatRequest, Reply, Request
from autointerp.providers.batch.echo import answering, sealed
from autointerp.providers.batch.service import Progress, Results, read_lines
from autointerp.providers.keys import NO_SECRET
from autointerp.providers.openai_replies import read_chat
from autointerp.providers.openai_server import OpenAIServer
from autointerp.providers.reading import json_object
from autointerp.providers.vendor import Asked, text_of
from autointerp.providers.wire import canonical_json

__all__ = ["OpenAIBatches"]

_ENDPOINT = "/v1/chat/completions"
_TOKEN = "autointerp_batch"  # the key of our token in `metadata`
_PAGE = 100
_OPEN = ("validating", "in_progress", "finalizing", "cancelling")
_ENDED = ("completed", "expired", "cancelled")
# Why a request of a batch was not run, by the reference of the request output object: all may be asked again.
_NOT_RUN = ("batch_expired", "batch_cancelled", "request_timeout")
_QUEUE_FULL = "token_limit_exceeded"  # the account's limit of tokens in batches that wait; nothing of this one was run


class OpenAIBatches:
    """Implements `BatchService`. chat: what a request is sent as (see `OpenAIProvider`)."""

    most_requests = 50_000
    most_bytes = 200_000_000

    def __init__(self, server: OpenAIServer, chat: Callable[[Request], tuple[ChatRequest, dict[str, Any]]]) -> None:
        self._server = server
        self._chat = chat

    def entry(self, key: str, request: Request) -> str:
        _, body = self._chat(request)
        return canonical_json({"custom_id": key, "method": "POST", "url": _ENDPOINT, "body": body})

    async def upload(self, token: str, entries: Sequence[str]) -> str:
        content = "".join(f"{entry}\n" for entry in entries).encode("ascii")
        return _id(await self._server.upload(f"autointerp-{token}.jsonl", content, {"purpose": "batch"}))

    async def create(self, token: str, uploaded: str) -> str:
        body = {
            "input_file_id": uploaded,
            "endpoint": _ENDPOINT,
            "completion_window": "24h",
            "metadata": {_TOKEN: token},
        }
        return _id(await self._server.post("/batches", body))

    async def candidates(self, token: str, size: int, since: datetime) -> Sequence[str]:
        """The one that names our token, if it is listed. The list begins with the newest batch."""
        query: dict[str, object] = {"limit": _PAGE}
        while True:
            page = json_object(await self._server.get("/batches", query))
            listed = [one for one in page.get("data") or [] if isinstance(one, Mapping)]
            ours = [str(one["id"]) for one in listed if (one.get("metadata") or {}).get(_TOKEN) == token]
            older = all(float(one.get("created_at") or 0) < since.timestamp() for one in listed)
            if ours or older or not page.get("has_more"):
                return ours
            query["after"] = listed[-1]["id"]

    async def holds(self, batch_id: str, keys: Iterable[str]) -> bool | None:
        """The token says so already."""
        return True

    async def progress(self, batch_id: str) -> Progress:
        body = json_object(await self._server.get(f"/batches/{batch_id}"))
        status = body.get("status")
        if status in _OPEN:
            return Progress(ended=False)
        if status == "failed":
            return Progress(ended=True, failure=await self._failure(batch_id, body))
        if status not in _ENDED:
            raise BadReply(f"the server says of batch {batch_id} that it is {str(status)[:60]!r}")
        files = tuple(str(body[name]) for name in ("output_file_id", "error_file_id") if body.get(name))
        counts = body.get("request_counts") or {}
        return Progress(True, files, int(counts.get("completed") or 0) + int(counts.get("failed") or 0))

    async def results(self, batch_id: str, progress: Progress) -> Results:
        """Of both files. One that is gone (the vendor keeps them for 30 days) brings nothing, now or later."""
        found: dict[str, Mapping[str, Any]] = {}
        whole, gone = True, False
        for place in progress.places:
            try:
                lines, readable = read_lines(await self._server.get(f"/files/{place}/content"))
            except NotFound:
                gone = True
                continue
            found = lines | found  # an answer goes before an error
            whole &= readable
        return Results(found, whole and (gone or len(found) >= progress.promised))

    async def reply(self, result: Mapping[str, Any], request: Request) -> Reply:
        error, response = result.get("error"), result.get("response")
        if isinstance(error, Mapping) and error:
            kind = Transient if error.get("code") in _NOT_RUN else ProviderError
            raise kind(f"in a batch: {error.get('code')}: {str(error.get('message'))[:300]}")
        if not isinstance(response, Mapping) or not isinstance(response.get("status_code"), int):
            raise BadReply("the server's result holds neither a response nor an error")
        if response["status_code"] >= 400:
            raise await _live_error(
                response["status_code"], response.get("body"), self._server.address("/chat/completions")
            )
        chat, _ = self._chat(request)
        return read_chat(json.dumps(response.get("body")), chat)

    async def _failure(self, batch_id: str, body: Mapping[str, Any]) -> ProviderError:
        """The vendor did not take the file: the first reason it gives, as a live call that it refuses."""
        listed = (body.get("errors") or {}).get("data") or [{}]
        code, message = listed[0].get("code"), f"batch {batch_id}: {listed[0].get('message') or 'no reason given'}"
        if code == _QUEUE_FULL:
            return RateLimited(message[:500])
        return await _live_error(400, {"error": {"code": code, "message": message}}, self._server.address("/batches"))


async def _live_error(status: int, body: Any, shown: str) -> ProviderError:
    """What a live call that is answered so ends in."""
    import httpx2
    from openai import AsyncOpenAI

    from autointerp.providers.openai_errors import SDK

    address, http = answering()
    async with AsyncOpenAI(api_key="none", base_url=address, max_retries=0, http_client=http) as client:
        call = client.post("/chat/completions", body=sealed(status, body), cast_to=httpx2.Response)
        try:
            await text_of(call, SDK, Asked(shown, NO_SECRET, 60.0))
        except ProviderError as error:
            return error
    return BadReply(f"the server's result has the status {status}")


def _id(text: str) -> str:
    found = json_object(text).get("id")
    if not isinstance(found, str) or not found:
        raise BadReply(f"the server's answer has no id: {text[:60]!r}")
    return found
