"""One model behind one provider, with the ledger in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from autointerp.errors import BadReply, NotInLedger, ProviderError
from autointerp.protocols import (
    Capabilities,
    ChatReply,
    ChatRequest,
    EchoReply,
    EchoRequest,
    Provider,
    Reply,
    Request,
    request_key,
)
from autointerp.providers.ledger import Ledger
from autointerp.providers.retries import RetryPolicy, retried
from autointerp.types import Usage

__all__ = ["Counters", "LedgeredModel"]


@dataclass(slots=True)
class Counters:
    """Requests by how they ended, each counted once for every caller.

    live: asked and answered; replayed: answered by the ledger; joined: answered by the same question asked by another
    caller; failed: ended in an error after its retries; attempts: calls made, failures included. The usages are sums
    over live and over replayed and joined requests.
    """

    live: int = 0
    replayed: int = 0
    joined: int = 0
    failed: int = 0
    attempts: int = 0
    live_usage: Usage = field(default_factory=Usage)
    replayed_usage: Usage = field(default_factory=Usage)


class LedgeredModel:
    """Implements `LanguageModel`: the ledger answers a known request; a new one is asked, recorded, then answered.

    gate: limits how many calls are open at once, an `asyncio.Semaphore` for instance; models that share an account
    share one. replay_only: never asks; a request that the ledger does not know raises NotInLedger, or the error it
    ended in when it was asked. retries: applied to Transient errors only; each failed attempt is recorded. sleep: how
    to wait.
    """

    def __init__(
        self,
        provider: Provider,
        model: str,
        ledger: Ledger,
        *,
        gate: AbstractAsyncContextManager[None] | None = None,
        replay_only: bool = False,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.counters = Counters()
        self._provider = provider
        self._model = model
        self._ledger = ledger
        self._gate = asyncio.Semaphore(8) if gate is None else gate
        self._replay_only = replay_only
        self._retries = retries or RetryPolicy()
        self._sleep = sleep

    @property
    def provider(self) -> str:
        return self._provider.name

    @property
    def model(self) -> str:
        return self._model

    def capabilities(self) -> Capabilities:
        return self._provider.capabilities(self._model)

    async def chat(self, request: ChatRequest) -> tuple[str, ChatReply]:
        """(request key, reply). Raises a ProviderError, or LedgerError."""
        key, reply = await self._answer(request)
        return key, cast(ChatReply, reply)

    async def echo(self, request: EchoRequest) -> tuple[str, EchoReply]:
        """(request key, reply), a row for each slot and a column for each candidate. Raises as `chat` does."""
        key, reply = await self._answer(request)
        return key, cast(EchoReply, reply)

    async def _answer(self, request: Request) -> tuple[str, Reply]:
        if request.model != self._model:
            raise ValueError(f"a request for {request.model} was given to {self._model}")
        key = request_key(self.provider, request)
        reply = await self._ledger.find(key)
        if reply is None:
            return key, await self._new(key, request)
        self.counters.replayed += 1
        self.counters.replayed_usage += reply.usage
        return key, _fitting(request, reply)

    async def _new(self, key: str, request: Request) -> Reply:
        try:
            if self._replay_only:
                raise self._ledger.failure(key) or NotInLedger(
                    f"the ledger {self._ledger.name} has no reply of {self._model} for the request {key[:16]}: "
                    "allow live calls, or replay with the ledger of that run"
                )
            reply, started = await self._ledger.joined(key, lambda: self._ask(key, request))
        except ProviderError:
            self.counters.failed += 1
            raise
        if started:
            self.counters.live += 1
            self.counters.live_usage += reply.usage
        else:
            self.counters.joined += 1
            self.counters.replayed_usage += reply.usage
        return reply

    async def _ask(self, key: str, request: Request) -> Reply:
        jitter = random.Random(key)  # waits differ between requests; no result depends on them
        return await retried(lambda: self._attempt(request), self._retries, self._sleep, jitter)

    async def _attempt(self, request: Request) -> Reply:
        async with self._gate:
            self.counters.attempts += 1
            asked_at, start = datetime.now(UTC), time.monotonic()
            outcome: Reply | ProviderError
            try:
                outcome = _fitting(request, await self._provider.ask(request))
            except ProviderError as error:
                outcome = error
            seconds = time.monotonic() - start
        outcome = await self._ledger.record(self.provider, request, outcome, asked_at=asked_at, seconds=seconds)
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome


def _fitting(request: Request, reply: Reply) -> Reply:
    """The reply, if it is of the request's kind and shape. A provider that answers otherwise has failed."""
    if isinstance(request, ChatRequest):
        if not isinstance(reply, ChatReply):
            raise BadReply(f"a conversation was answered with {type(reply).__name__}")
        return reply
    if not isinstance(reply, EchoReply):
        raise BadReply(f"a request for log-probabilities was answered with {type(reply).__name__}")
    wrong = [row for row in reply.logprobs if len(row) != len(request.candidates)]
    if wrong or len(reply.logprobs) != len(request.slots):
        raise BadReply(f"the reply does not hold {len(request.candidates)} numbers for {len(request.slots)} slots each")
    return reply
