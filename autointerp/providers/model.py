"""One model behind one provider, with the ledger in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, cast

from autointerp.errors import BadReply, NotInLedger, ProviderError, WaitedTooLong
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
from autointerp.providers.pacing import PacedCall, Pacing
from autointerp.providers.retries import Patience, RetryPolicy, retried
from autointerp.providers.token_estimate import TokenEstimate
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

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


class LedgeredModel:
    """Implements `LanguageModel`: the ledger answers a known request; a new one is asked, recorded, then answered.

    pacing: when calls may be made; models that share an account share one. replay_only: never asks; a request that the
    ledger does not know raises NotInLedger, or the error it ended in when it was asked. retries: applied to Transient
    errors only; each failed attempt is recorded, and a retry that waits is not an open call. sleep: how to wait.
    """

    def __init__(
        self,
        provider: Provider,
        model: str,
        ledger: Ledger,
        *,
        pacing: Pacing | None = None,
        replay_only: bool = False,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.counters = Counters()
        self._provider = provider
        self._model = model
        self._ledger = ledger
        self.pacing = pacing or Pacing()
        self._replay_only = replay_only
        self._retries = retries or RetryPolicy()
        self._sleep = sleep
        self._estimate = TokenEstimate()
        self._asking: set[asyncio.Task[Any]] = set()
        self._waiting: set[asyncio.Task[Any]] = set()  # those of them with no call open
        self._finished = False

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

    async def finish(self) -> None:
        """Ends in order what is under way: open calls are answered and recorded, whatever waits is given up.

        Nothing new is asked from then on. Before this returns, closing the provider would lose replies that are paid.
        """
        self._finished = True
        for task in self._waiting:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)

    async def abandon(self) -> None:
        """Ends at once what is under way: what the open calls would have been answered is lost."""
        self._finished = True
        for task in self._asking:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)

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
        patience = Patience(self._retries.max_wait_s)
        with _entered(self._asking):
            try:
                return await retried(
                    lambda: self._attempt(request, patience), self._retries, self._wait, jitter, patience
                )
            except WaitedTooLong as error:  # recorded too, so that a replay ends in the same
                await self._ledger.record(self.provider, request, error, asked_at=datetime.now(UTC), seconds=0.0)
                raise

    async def _attempt(self, request: Request, patience: Patience) -> Reply:
        with self._interruptible():
            call = await self.pacing.begin(self._estimate.of(request), patience, type(request).__name__)
        with call:
            self.counters.attempts += 1
            asked_at, start = datetime.now(UTC), time.monotonic()
            outcome = await self._outcome(request, call)
            seconds = time.monotonic() - start
        outcome = await self._ledger.record(self.provider, request, outcome, asked_at=asked_at, seconds=seconds)
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    async def _outcome(self, request: Request, call: PacedCall) -> Reply | ProviderError:
        try:
            reply = _fitting(request, await self._provider.ask(request))
        except ProviderError as error:
            call.failed(error)
            return error
        call.answered(reply.usage)
        self._estimate.learn(request, reply.usage)
        return reply

    async def _wait(self, seconds: float) -> None:
        with self._interruptible():
            await self._sleep(seconds)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Around waiting with no call open: `finish` ends it."""
        if self._finished:
            raise asyncio.CancelledError
        with _entered(self._waiting):
            yield


@contextmanager
def _entered(tasks: set[asyncio.Task[Any]]) -> Iterator[None]:
    """The running task is in the set for as long as the block takes."""
    task = cast("asyncio.Task[Any]", asyncio.current_task())  # a coroutine that runs is in one
    tasks.add(task)
    try:
        yield
    finally:
        tasks.discard(task)


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
