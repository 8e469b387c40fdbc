"""One model behind one provider, with the ledger in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
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
)
from autointerp.providers.backlog import Backlog
from autointerp.providers.batch.queue import NOTHING_IN_BATCHES, BatchQueue, BatchSettings, InBatches
from autointerp.providers.batch.service import HasBatches
from autointerp.providers.billing import Billing
from autointerp.providers.budget import Reservation
from autointerp.providers.ledger import Ledger
from autointerp.providers.pacing import PacedCall, Pacing
from autointerp.providers.planning import KnownCalls, PlanningModel
from autointerp.providers.retries import Patience, RetryPolicy, retried
from autointerp.providers.token_estimate import TokenEstimate
from autointerp.providers.wire import NamedRequest, named_request
from autointerp.types import Usage

__all__ = ["Counters", "LedgeredModel"]


_RECORDED_LATER = 2
"""Answers that may wait to be recorded for each call that may be open: some are on their way to the disk together while
the next ones come. With 1 calls stood still meanwhile, and the engine was up to a tenth slower."""


@dataclass(slots=True)
class Counters:
    """Requests by how they ended, each counted once for every caller.

    live: asked and answered; replayed: answered by the ledger; joined: answered by the same question asked by another
    caller; failed: ended in an error after its retries; attempts: calls made, failures included. The usages are sums
    over live and over replayed and joined requests.

    cost_usd: of all attempts whose cost is known; uncertain_usd: the most that those can have cost of which nobody said
    (a connection that was cut); unpriced: answered calls without a known cost.
    """

    live: int = 0
    replayed: int = 0
    joined: int = 0
    failed: int = 0
    attempts: int = 0
    live_usage: Usage = field(default_factory=Usage)
    replayed_usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    uncertain_usd: float = 0.0
    unpriced: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


class LedgeredModel:
    """Implements `LanguageModel`: the ledger answers a known request; a new one is asked, recorded, then answered.

    pacing: when calls may be made (see `Accounts`). replay_only: never asks; a request that the ledger does not know
    raises NotInLedger, or the error it ended in when it was asked. retries: applied to Transient errors and, less
    often, to a BadReply; each failed attempt is recorded, and a retry that waits is not an open call. sleep: how to
    wait. batch: ask in batches instead of one by one, where the provider's vendor takes them (else ValueError). What is
    asked and the ledger's keys are the same. billing: what calls cost, and the budget they are paid from; each attempt
    is paid for apart.

    At most twice as many answers as calls may be open wait to be recorded; then no call is sent. Once one could not be
    recorded nothing more is asked: every request that the ledger does not know raises LedgerError.
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
        batch: BatchSettings | None = None,
        billing: Billing | None = None,
    ) -> None:
        self.counters = Counters()
        self._provider = provider
        self._model = model
        self._ledger = ledger
        self.pacing = pacing or Pacing()
        self._replay_only = replay_only
        self._retries = retries or RetryPolicy()
        self._sleep = sleep
        self._billing = billing or Billing()
        self._backlog = Backlog(_RECORDED_LATER * self.pacing.limits.concurrency)
        self._estimate = TokenEstimate()
        self._can: Capabilities | None = None
        self._asking: set[asyncio.Task[Any]] = set()
        self._waiting: set[asyncio.Task[Any]] = set()  # those of them with no call open
        self._finished = False
        self._queue = None if batch is None else self._batch_queue(batch)

    @property
    def provider(self) -> str:
        return self._provider.name

    @property
    def model(self) -> str:
        return self._model

    def capabilities(self) -> Capabilities:
        if self._can is None:
            self._can = self._provider.capabilities(self._model)
        return self._can

    def planning(self) -> PlanningModel:
        """What counts the calls that this model would make, and makes none."""
        known = KnownCalls([self._ledger])
        price = self._billing.price
        return PlanningModel(self._provider, self._model, known, price=price, replay_only=self._replay_only)

    @property
    def billing(self) -> Billing:
        """What its calls cost, and the budget they are paid from."""
        return self._billing

    async def chat(self, request: ChatRequest) -> tuple[str, ChatReply]:
        """(request key, reply). Raises a ProviderError, LedgerError, or BudgetExceeded."""
        key, reply = await self._answer(request)
        return key, cast(ChatReply, reply)

    async def echo(self, request: EchoRequest) -> tuple[str, EchoReply]:
        """(request key, reply), a row for each slot and a column for each candidate. Raises as `chat` does."""
        key, reply = await self._answer(request)
        return key, cast(EchoReply, reply)

    @property
    def batched(self) -> bool:
        """Whether it is asked in batches."""
        return self._queue is not None

    @property
    def in_batches(self) -> InBatches:
        """What waits for a batch just now."""
        return NOTHING_IN_BATCHES if self._queue is None else self._queue.in_batches()

    async def finish(self) -> None:
        """Ends in order what is under way: open calls are answered and recorded, whatever waits is given up.

        Nothing new is asked from then on. Before this returns, closing the provider would lose replies that are paid.
        Batches go on at the vendor, and are collected by the next model of this ledger that asks.
        """
        self._finished = True
        for task in self._waiting:
            task.cancel()
        if self._queue is not None:
            await self._queue.finish()
        if self._asking:
            await asyncio.wait(self._asking)

    async def abandon(self) -> None:
        """Ends at once what is under way: what the open calls would have been answered is lost."""
        self._finished = True
        for task in self._asking:
            task.cancel()
        if self._queue is not None:
            await self._queue.abandon()
        if self._asking:
            await asyncio.wait(self._asking)

    async def _answer(self, request: Request) -> tuple[str, Reply]:
        if request.model != self._model:
            raise ValueError(f"a request for {request.model} was given to {self._model}")
        named = named_request(self.provider, request)
        reply = await self._ledger.find(named.key)
        if reply is None:
            return named.key, await self._new(named, request)
        self.counters.replayed += 1
        self.counters.replayed_usage += reply.usage
        return named.key, _fitting(request, reply)

    async def _new(self, named: NamedRequest, request: Request) -> Reply:
        key = named.key
        try:
            if self._replay_only:
                raise self._ledger.failure(key) or NotInLedger(
                    f"the ledger {self._ledger.name} has no reply of {self._model} for the request {key[:16]}: "
                    "allow live calls, or replay with the ledger of that run"
                )
            reply, started = await self._ledger.joined(key, lambda: self._ask(named, request))
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

    async def _ask(self, named: NamedRequest, request: Request) -> Reply:
        jitter = partial(random.Random, named.key)  # waits differ between requests; no result depends on them
        patience = Patience(self._retries.max_wait_s)
        with _Entered(self._asking):
            try:
                if self._queue is not None:
                    return await self._in_batch(self._queue, named, request)
                return await retried(
                    lambda: self._attempt(named, request, patience), self._retries, self._wait, jitter, patience
                )
            except WaitedTooLong as error:  # recorded too, so that a replay ends in the same
                await self._ledger.record(
                    self.provider, request, error, asked_at=datetime.now(UTC), seconds=0.0, named=named
                )
                raise

    async def _attempt(self, named: NamedRequest, request: Request, patience: Patience) -> Reply:
        with self._interruptible():
            money = await self._billing.reserve(request, self.capabilities(), self._estimate)
        with money:
            with self._interruptible():
                call = await self.pacing.begin(self._estimate.of(request), patience, type(request).__name__)
            with call:
                with self._interruptible():
                    await self._backlog.room()
                money.sent = True
                self.counters.attempts += 1
                asked_at, start = datetime.now(UTC), time.monotonic()
                outcome = await self._outcome(request, call)
                seconds = time.monotonic() - start
            cost = self._paid(money, outcome, _usage(outcome), asked_at)
        with self._backlog:
            outcome = await self._ledger.record(
                self.provider, request, outcome, asked_at=asked_at, seconds=seconds, cost_usd=cost, named=named
            )
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    async def _in_batch(self, queue: BatchQueue, named: NamedRequest, request: Request) -> Reply:
        """The reply, by the next batch or one that is open already; money is set aside for it meanwhile."""
        with self._interruptible(), await self._billing.reserve(request, self.capabilities(), self._estimate) as money:
            money.sent = True
            asked_at = datetime.now(UTC)
            try:
                reply = await queue.answer(named.key, request)
            except ProviderError as error:
                usage = None if isinstance(error, WaitedTooLong) else error.usage  # its batch may still be run
                self._paid(money, error, usage, asked_at, batch=True)
                raise
            self._paid(money, reply, _usage(reply), asked_at, batch=True)
            return reply

    async def _record_of_batch(
        self, request: Request, outcome: Reply | ProviderError, *, asked_at: datetime, seconds: float, batch: str
    ) -> Reply | ProviderError:
        """Writes down what a batch brought; batch: the vendor's id of it."""
        self.counters.attempts += 1
        cost = self._billing.cost(_usage(outcome), asked_at, batch=True)
        return await self._ledger.record(
            self.provider,
            request,
            outcome,
            asked_at=asked_at,
            seconds=seconds,
            cost_usd=None if cost is None else float(cost),
            batch=batch,
        )

    def _batch_queue(self, settings: BatchSettings) -> BatchQueue:
        if not isinstance(self._provider, HasBatches):
            raise ValueError(f"{self.provider} takes no batches")
        return BatchQueue(
            self._provider.batches(),
            self._ledger,
            self.provider,
            self._model,
            self._record_of_batch,
            pacing=self.pacing,
            retries=self._retries,
            settings=settings,
            sleep=self._sleep,
        )

    async def _outcome(self, request: Request, call: PacedCall) -> Reply | ProviderError:
        try:
            reply = _fitting(request, await self._provider.ask(request))
        except ProviderError as error:
            call.failed(error)
            return error
        call.answered(reply.usage)
        self._estimate.learn(request, reply.usage)
        return reply

    def _paid(
        self,
        money: Reservation,
        outcome: Reply | ProviderError,
        usage: Usage | None,
        asked_at: datetime,
        *,
        batch: bool = False,
    ) -> float | None:
        """Settles an attempt. usage: None where nobody said."""
        cost = self._billing.settle(money, usage, asked_at, batch=batch)
        if cost is not None:
            self.counters.cost_usd += float(cost)
            return float(cost)
        self.counters.uncertain_usd += float(money.usd)
        self.counters.unpriced += not isinstance(outcome, ProviderError)
        return None

    async def _wait(self, seconds: float) -> None:
        with self._interruptible():
            await self._sleep(seconds)

    def _interruptible(self) -> _Entered:
        """Around waiting with no call open: `finish` ends it."""
        if self._finished:
            raise asyncio.CancelledError
        return _Entered(self._waiting)


class _Entered:
    """The running task is in the set for as long as the block takes."""

    __slots__ = ("_task", "_tasks")

    def __init__(self, tasks: set[asyncio.Task[Any]]) -> None:
        self._tasks = tasks
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())  # a coroutine that runs is in one

    def __enter__(self) -> None:
        self._tasks.add(self._task)

    def __exit__(self, *_: object) -> None:
        self._tasks.discard(self._task)


def _usage(outcome: Reply | ProviderError) -> Usage | None:
    """What an attempt used, None where nobody said: of an answer, zeros are from a server that does not count."""
    unknown = not isinstance(outcome, ProviderError) and outcome.usage == Usage()
    return None if unknown else outcome.usage


def _fitting(request: Request, reply: Reply) -> Reply:
    """The reply, if it is of the request's kind and shape. A provider that answers otherwise has failed."""
    if isinstance(request, ChatRequest):
        if not isinstance(reply, ChatReply):
            raise _misfit(reply, f"a conversation was answered with {type(reply).__name__}")
        return reply
    if not isinstance(reply, EchoReply):
        raise _misfit(reply, f"a request for log-probabilities was answered with {type(reply).__name__}")
    wrong = [row for row in reply.logprobs if len(row) != len(request.candidates)]
    if wrong or len(reply.logprobs) != len(request.slots):
        numbers, slots = len(request.candidates), len(request.slots)
        raise _misfit(reply, f"the reply does not hold {numbers} numbers for {slots} slots each")
    return reply


def _misfit(reply: Reply, why: str) -> BadReply:
    """It is billed all the same."""
    error = BadReply(why)
    error.usage = reply.usage
    return error
