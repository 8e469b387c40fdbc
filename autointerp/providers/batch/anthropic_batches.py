"""Anthropic's Message Batches: a list of requests goes in, lines of results come out.

Sources: the API reference and the guide to batch processing. A batch holds at most 100,000 requests and 256 MB and has
24 hours; a custom_id has 1 to 64 letters, digits, - and _ (a ledger key, 64 hexadecimal digits, just fits); results
stay for 29 days. A batch carries nothing of ours but its custom_ids, and shows these only when it has ended. So a batch
whose id was lost is looked for among those of the right time and number of requests, and known for ours, or not, by
the custom_ids of its results. Another run's batch of the very same requests would do as well.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from autointerp.errors import BadReply, NotFound, ProviderError, Transient
from autointerp.protocols import Reply, Request
from autointerp.providers.anthropic_replies import read_message
from autointerp.providers.batch.echo import answering, sealed
from autointerp.providers.batch.service import Progress, Results, read_lines
from autointerp.providers.keys import NO_SECRET
from autointerp.providers.reading import json_object
from autointerp.providers.vendor import Asked, text_of
from autointerp.providers.wire import canonical_json

__all__ = ["STATUSES", "AnthropicBatches"]

_PATH = "/v1/messages/batches"
_PAGE = 1000
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
_NOT_RUN = ("expired", "canceled")

STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status with which a live call brings each type of error (API: errors); a result has the type only."""


class AnthropicBatches:
    """Implements `BatchService`. post, get: of the provider; message: its body; address: of live calls."""

    most_requests = 100_000
    most_bytes = 256_000_000

    def __init__(
        self,
        post: Callable[[str, dict[str, Any]], Awaitable[str]],
        get: Callable[[str, Mapping[str, object] | None], Awaitable[str]],
        message: Callable[[Request], dict[str, Any]],
        address: str,
    ) -> None:
        self._post = post
        self._get = get
        self._message = message
        self._address = address

    def entry(self, key: str, request: Request) -> str:
        return canonical_json({"custom_id": key, "params": self._message(request)})

    async def upload(self, token: str, entries: Sequence[str]) -> str:
        """Nothing is sent before `create`."""
        return f"[{','.join(entries)}]"

    async def create(self, token: str, uploaded: str) -> str:
        found = json_object(await self._post(_PATH, {"requests": json.loads(uploaded)})).get("id")
        if not isinstance(found, str) or not found:
            raise BadReply("the server's answer to a new batch has no id")
        return found

    async def candidates(self, token: str, size: int, since: datetime) -> Sequence[str]:
        """Those of as many requests. The list begins with the newest batch (the reference says so)."""
        found: list[str] = []
        query: dict[str, object] = {"limit": _PAGE}
        while True:
            page = json_object(await self._get(_PATH, query))
            listed = [one for one in page.get("data") or [] if isinstance(one, Mapping)]
            recent = [one for one in listed if _time(one) >= since]
            found += [str(one["id"]) for one in recent if _size(one) == size]
            if len(recent) < len(listed) or not page.get("has_more"):
                return found
            query["after_id"] = page.get("last_id")

    async def holds(self, batch_id: str, keys: Iterable[str]) -> bool | None:
        progress = await self.progress(batch_id)
        if not progress.ended:
            return None
        results = await self.results(batch_id, progress)
        wanted = set(keys)
        return results.found.keys() == wanted if results.whole else bool(results.found.keys() & wanted)

    async def progress(self, batch_id: str) -> Progress:
        body = json_object(await self._get(f"{_PATH}/{batch_id}", None))
        status = body.get("processing_status")
        if status in ("in_progress", "canceling"):
            return Progress(ended=False)
        if status != "ended":
            raise BadReply(f"the server says of batch {batch_id} that it is {str(status)[:60]!r}")
        return Progress(True, (batch_id,) if body.get("results_url") else (), _size(body))

    async def results(self, batch_id: str, progress: Progress) -> Results:
        """Results that are gone (the vendor keeps them for 29 days) are none, now or later."""
        found: dict[str, Mapping[str, Any]] = {}
        whole = True
        for place in progress.places:
            try:
                found, readable = read_lines(await self._get(f"{_PATH}/{place}/results", None))
            except NotFound:
                continue
            whole = readable and len(found) >= progress.promised
        return Results(found, whole)

    async def reply(self, result: Mapping[str, Any], request: Request) -> Reply:
        brought = result.get("result")
        kind = brought.get("type") if isinstance(brought, Mapping) else None
        if kind in _NOT_RUN:
            raise Transient(f"in a batch: {kind} before it was run")
        if not isinstance(brought, Mapping) or kind not in ("succeeded", "errored"):
            raise BadReply(f"the server's result is of no known type: {str(kind)[:60]!r}")
        if kind == "succeeded":
            return read_message(json.dumps(brought.get("message")))
        raise await _live_error(brought.get("error"), self._address)


async def _live_error(body: Any, shown: str) -> ProviderError:
    """What a live call that brings this error ends in."""
    import httpx2
    from anthropic import AsyncAnthropic

    from autointerp.providers.anthropic_errors import SDK

    inner = body.get("error") if isinstance(body, Mapping) else None
    kind = inner.get("type") if isinstance(inner, Mapping) else None
    status = STATUSES.get(str(kind))
    if status is None:
        return ProviderError(f"in a batch: an error of unknown type: {str(body)[:300]}")
    address, http = answering()
    async with AsyncAnthropic(api_key="none", base_url=address, max_retries=0, http_client=http) as client:
        call = client.post("/v1/messages", body=sealed(status, body), cast_to=httpx2.Response)
        try:
            await text_of(call, SDK, Asked(shown, NO_SECRET, 60.0))
        except ProviderError as error:
            return error
    return BadReply(f"the server's result has the status {status}")


def _time(batch: Mapping[str, Any]) -> datetime:
    try:
        moment = datetime.fromisoformat(str(batch.get("created_at")))
    except ValueError as error:
        raise BadReply(f"a batch in the server's list has no created_at ({error})") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _size(batch: Mapping[str, Any]) -> int:
    counts = batch.get("request_counts") or {}
    return sum(int(counts.get(name) or 0) for name in _COUNTS)
