"""Requests that are asked in batches: gathered, submitted, awaited, collected, recorded.

A request waits in `answer` until its batch has been collected. What is asked together goes together: a batch is sent
when it is full, or when nothing new has come for a moment. What happens to a batch is written to the ledger before and
after (see `ledger_batches`), so that a crash at any point loses nothing and submits nothing twice:

    written down, then sent       nothing was sent yet: sent by the next run
    sent, its id not written      the next run looks for it at the vendor's, and submits it where it is not there
    submitted                     the next run waits for it
    ended, not all recorded       the next run collects it again; what is recorded stays as it is

A batch that the vendor does not have any more stops the job, until somebody gives it up (see `forgetting`).
What can be asked again (expired, cancelled, overloaded) goes into the next batch, a limited number of times.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

from autointerp.errors import (
    BadReply,
    ContextOverflow,
    NotFound,
    ProviderError,
    ProviderRefused,
    RateLimited,
    Transient,
    Unsupported,
    WaitedTooLong,
)
from autointerp.protocols import Reply, Request
from autointerp.providers.batch import owners
from autointerp.providers.batch.forgetting import forget_command
from autointerp.providers.batch.service import BatchService, Progress, Results
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_batches import SUBMITTING, OpenBatch
from autointerp.providers.pacing import Pacing
from autointerp.providers.retries import Patience, RetryPolicy, retried
from autointerp.types import Usage

__all__ = ["NOTHING_IN_BATCHES", "BatchQueue", "BatchSettings", "InBatches"]

T = TypeVar("T")

_RECORDED_AT_ONCE = 500
_GROWTH = 1.5
_FIRST_POLL_S = 2.0
_LOOKS_S = (0.0, 5.0, 30.0)  # a list may show a batch a little after it was made
_CLOCKS_DIFFER = timedelta(hours=1)  # at most: ours and the vendor's
_REFUSALS = (ProviderRefused, ContextOverflow, Unsupported, RateLimited)  # after these nothing was created


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """size: requests in a batch, at most, if the vendor takes so many. poll_s: the longest pause between two looks at a
    batch. max_wait_s: of one request, for its batches. quiet_s: a batch is sent when nothing new came for so long.
    """

    size: int = 10_000
    poll_s: float = 60.0
    max_wait_s: float = 48 * 3600.0
    quiet_s: float = 1.0


@dataclass(frozen=True, slots=True)
class InBatches:
    """Requests that wait, in so many batches, the first of which was sent at `since` (None: none is sent yet)."""

    requests: int
    batches: int
    since: datetime | None


NOTHING_IN_BATCHES = InBatches(0, 0, None)


class Record(Protocol):
    """Writes down what a request of a batch (named by the vendor's id) brought; returns what a replay will find."""

    def __call__(
        self, request: Request, outcome: Reply | ProviderError, *, asked_at: datetime, seconds: float, batch: str
    ) -> Awaitable[Reply | ProviderError]: ...


@dataclass(slots=True)
class _Waiter:
    request: Request
    size: int  # of its entry, bytes
    done: asyncio.Future[Reply]
    failures: int = 0


@dataclass(slots=True)
class _Followed:
    """A batch that this process submits, watches and collects."""

    keys: frozenset[str]
    since: datetime | None
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Tasks:
    """What runs, and which of it must not be cancelled just now."""

    all: set[asyncio.Task[None]] = field(default_factory=set)
    busy: set[asyncio.Task[Any] | None] = field(default_factory=set)


class BatchQueue:
    """The batches of one model. One event loop's; `finish` or `abandon` ends it.

    record: see `Record`. pacing, retries, sleep: of the calls to the vendor (submitting, looking,
    collecting), as of any other call; a request that waits in a batch is not an open call.
    """

    def __init__(
        self,
        service: BatchService,
        ledger: Ledger,
        provider: str,
        model: str,
        record: Record,
        *,
        pacing: Pacing,
        retries: RetryPolicy,
        settings: BatchSettings | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._service = service
        self._ledger = ledger
        self._table = ledger.batches
        self._provider = provider
        self._model = model
        self._record = record
        self._pacing = pacing
        self._retries = retries
        self._settings = settings or BatchSettings()
        self._sleep = sleep
        self._most = min(self._settings.size, service.most_requests)
        self._waiting: dict[str, _Waiter] = {}
        self._new: dict[str, None] = {}  # keys that are in no batch yet, in the order they came
        self._came = asyncio.Event()
        self._followed: dict[str, _Followed] = {}
        self._tasks = _Tasks()
        self._gathering: asyncio.Task[None] | None = None
        self._resumed = False
        self._finished = False
        self._owner = owners.joined()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-batches")

    async def answer(self, key: str, request: Request) -> Reply:
        """The reply, in minutes or hours. Raises what a live call would, and WaitedTooLong.

        Who is cancelled, or has waited too long, leaves the batch as it is: the next run collects it.
        """
        entry = self._service.entry(key, request)
        waiter = _Waiter(request, len(entry) + 1, asyncio.get_running_loop().create_future())
        self._waiting[key] = waiter
        self._put(key)
        try:
            async with asyncio.timeout(self._settings.max_wait_s):
                return await waiter.done
        except TimeoutError:
            hours = self._settings.max_wait_s / 3600
            raise WaitedTooLong(
                f"no reply came by batch within max_wait_h = {hours:g}: run the job again later, which collects it"
            ) from None
        finally:
            del self._waiting[key]

    def in_batches(self) -> InBatches:
        """What waits just now."""
        followed = [one for one in self._followed.values() if not one.keys.isdisjoint(self._waiting)]
        since = [one.since for one in followed if one.since is not None]
        return InBatches(len(self._waiting), len(followed), min(since, default=None))

    async def finish(self) -> None:
        """Ends at once, but for a batch that is being submitted just now: its id is awaited and written down."""
        self._finished = True
        await self._end([task for task in self._tasks.all if task not in self._tasks.busy])

    async def abandon(self) -> None:
        """Ends at once. A batch that was being submitted is looked for by the next run."""
        self._finished = True
        await self._end(list(self._tasks.all))

    async def _end(self, cancelled: Iterable[asyncio.Task[None]]) -> None:
        for task in cancelled:
            task.cancel()
        if self._tasks.all:
            await asyncio.wait(list(self._tasks.all))
        await asyncio.to_thread(self._thread.shutdown)
        owners.left(self._owner)

    # Gathering

    def _put(self, key: str) -> None:
        self._new[key] = None
        self._came.set()
        if self._gathering is None or self._gathering.done():
            self._gathering = self._started(self._gather())
            self._gathering.add_done_callback(self._gathered)

    async def _gather(self) -> None:
        """Until nothing is new. Open batches are followed first, so that what is in them is not asked again."""
        if not self._resumed:
            for token in await self._stored(partial(self._table.open, self._provider, self._model)):
                await self._follow(token)
            self._resumed = True
        while self._new:
            await self._quiet()
            requests = self._taken()
            if requests:
                await self._register(requests)

    async def _quiet(self) -> None:
        """Until nothing new has come for a moment, or a batch is full."""
        while len(self._new) < self._most:
            self._came.clear()
            await self._sleep(self._settings.quiet_s)
            await asyncio.sleep(0)  # who could go on at the same moment may have something
            if not self._came.is_set():
                return

    def _taken(self) -> dict[str, Request]:
        """What the next batch holds, by key: as much as it may."""
        taken: dict[str, Request] = {}
        size = 0
        for key in list(self._new):
            waiter = self._waiting.get(key)
            if waiter is None:  # gave up
                del self._new[key]
                continue
            size += waiter.size
            if taken and (len(taken) == self._most or size > self._service.most_bytes):
                break
            taken[key] = waiter.request
            del self._new[key]
        return taken

    async def _register(self, requests: Mapping[str, Request]) -> None:
        made = await self._stored(partial(self._table.register, self._owner, self._provider, self._model, requests))
        for token in {*made.elsewhere.values(), *([made.token] if made.token else [])}:
            await self._follow(token)
        await self._look_again(made.answered)  # by another process, since it was looked for

    async def _look_again(self, keys: Iterable[str]) -> None:
        """Another process has recorded their answers, or given them free."""
        for key in keys:
            if key not in self._waiting:
                continue
            reply = await self._ledger.find(key)
            if reply is not None:
                self._settle(key, reply)
            elif key in self._waiting:
                self._put(key)

    def _gathered(self, task: asyncio.Task[None]) -> None:
        """Where it failed (a ledger that cannot be written), nobody may be left waiting."""
        if not task.cancelled() and (error := task.exception()):
            self._fail(list(self._waiting), error)

    # Following one batch

    async def _follow(self, token: str) -> None:
        if token in self._followed:
            return
        batch = await self._stored(partial(self._table.get, token))
        if batch is None:  # another process has just collected it
            return
        followed = self._followed[token] = _Followed(frozenset(batch.requests), batch.submitted_at)
        followed.task = self._started(self._live(batch))
        followed.task.add_done_callback(lambda task: self._left(token, task))

    def _left(self, token: str, task: asyncio.Task[None]) -> None:
        keys = self._followed.pop(token).keys
        if not task.cancelled() and (error := task.exception()):
            self._fail(keys, error)

    async def _live(self, batch: OpenBatch) -> None:
        """A batch, from where it stands to its end."""
        found = await self._at_vendor(batch)
        if found is None:  # another process has collected it
            await self._look_again(batch.requests)
            return
        vendor_id, submitted_at = found
        self._followed[batch.token].since = submitted_at
        try:
            progress = await self._ended(vendor_id)
        except NotFound as error:
            raise self._gone(vendor_id, error) from error
        if progress.failure is not None:
            await self._refused(batch, progress.failure)
            return
        results = await self._results(vendor_id, progress)
        await self._collect(batch, vendor_id, submitted_at, results)

    async def _at_vendor(self, batch: OpenBatch) -> tuple[str, datetime] | None:
        """The vendor's id of a batch and when it was submitted, which is done here unless it was; None: it is over."""
        seen: OpenBatch | None = batch
        failures = 0
        while seen is not None and seen.vendor_id is None:
            if seen.owner != self._owner and not owners.is_over(seen.owner, seen.claimed_at):
                await self._sleep(self._poll_s(0))  # another process submits it
            elif seen.state != SUBMITTING or not await self._located(seen):
                try:
                    await self._submit(seen)
                except _Unsure as unsure:
                    failures += 1
                    if failures >= self._retries.attempts:
                        raise unsure.error from None
                    await self._sleep(self._poll_s(failures))
            seen = await self._stored(partial(self._table.get, batch.token))
        if seen is None or seen.vendor_id is None:
            return None
        return seen.vendor_id, seen.submitted_at or seen.created_at

    async def _submit(self, batch: OpenBatch) -> None:
        """Does nothing where another process claims it first. Raises _Unsure where it may be submitted or not."""
        entries = [self._service.entry(key, request) for key, request in batch.requests.items()]
        uploaded = await self._called("upload", lambda: self._service.upload(batch.token, entries))
        mine = batch

        async def create() -> None:
            nonlocal mine
            with self._not_interrupted():
                claimed = await self._stored(partial(self._table.claim, mine, self._owner))
                if claimed is None:
                    return
                mine = claimed
                vendor_id = await self._created(batch.token, uploaded)
                await self._stored(partial(self._table.submitted, batch.token, vendor_id))

        try:
            await self._called("submit", create)
        except _REFUSALS as error:
            await self._stored(partial(self._table.finish, batch.token, refused=True, note=str(error)))
            raise

    async def _created(self, token: str, uploaded: str) -> str:
        try:
            return await self._service.create(token, uploaded)
        except _REFUSALS:
            raise
        except ProviderError as error:
            raise _Unsure(error) from None

    async def _located(self, batch: OpenBatch) -> bool:
        """Whether the vendor has a batch whose id was lost; it is written down then."""
        since = batch.created_at - _CLOCKS_DIFFER
        for wait in _LOOKS_S:
            await self._sleep(wait)
            known = await self._stored(self._table.vendor_ids)
            listed = await self._persistently(
                "list", lambda: self._service.candidates(batch.token, len(batch.requests), since)
            )
            for candidate in listed:
                if candidate not in known and await self._is(candidate, batch):
                    await self._stored(partial(self._table.submitted, batch.token, candidate))
                    return True
        return False

    async def _is(self, candidate: str, batch: OpenBatch) -> bool:
        polls = 0
        while (
            holds := await self._persistently("list", lambda: self._service.holds(candidate, batch.requests))
        ) is None:
            await self._sleep(self._poll_s(polls))
            polls += 1
        return holds

    async def _ended(self, vendor_id: str) -> Progress:
        polls = 0
        while True:
            progress = await self._persistently("poll", lambda: self._service.progress(vendor_id))
            if progress.ended:
                return progress
            await self._sleep(self._poll_s(polls))
            polls += 1

    async def _results(self, vendor_id: str, progress: Progress) -> Results:
        """Read again where they came incomplete; in the end what is there is taken, and the rest is asked again."""
        for attempt in range(self._retries.attempts):
            results = await self._persistently("collect", lambda: self._service.results(vendor_id, progress))
            if results.whole:
                break
            await self._sleep(self._poll_s(attempt))
        return results

    # What came of it

    def _gone(self, vendor_id: str, error: NotFound) -> NotFound:
        """It may be of another account, and paid: whether its requests may be asked again is not ours to say."""
        command = forget_command(self._ledger, vendor_id)
        return NotFound(
            f"{error}: batch {vendor_id} is not there: use the key and the address that it was submitted with; if it "
            f"is gone for good, this gives it up, so that its requests are asked again: {command}"
        )

    async def _refused(self, batch: OpenBatch, failure: ProviderError) -> None:
        """The vendor did not take the batch: nothing was asked. Where its queue is full, smaller ones are tried."""
        await self._stored(partial(self._table.finish, batch.token, refused=True, note=str(failure)))
        if isinstance(failure, RateLimited):
            self._most = max(1, len(batch.requests) // 2)
            await self._sleep(self._settings.poll_s)
            for key in self._waiting.keys() & batch.requests.keys():
                self._put(key)
            return
        self._fail(batch.requests, failure)

    async def _collect(self, batch: OpenBatch, vendor_id: str, asked_at: datetime, results: Results) -> None:
        seconds = (datetime.now(UTC) - asked_at).total_seconds()
        outcomes: dict[str, Reply | ProviderError] = {}
        remaining = iter(batch.requests.items())
        while some := list(islice(remaining, _RECORDED_AT_ONCE)):
            read = [await self._read(vendor_id, results, key, request) for key, request in some]
            stand = await asyncio.gather(
                *(
                    self._record(request, outcome, asked_at=asked_at, seconds=seconds, batch=vendor_id)
                    for (_, request), outcome in zip(some, read, strict=True)
                )
            )
            outcomes.update(zip((key for key, _ in some), stand, strict=True))
        await self._stored(partial(self._table.finish, batch.token))
        for key, outcome in outcomes.items():
            self._settle(key, outcome)

    async def _read(self, vendor_id: str, results: Results, key: str, request: Request) -> Reply | ProviderError:
        result = results.found.get(key)
        if result is None:
            return Transient(f"batch {vendor_id} ended without a result of it")
        try:
            return await self._service.reply(result, request)
        except ProviderError as error:
            return error

    def _settle(self, key: str, outcome: Reply | ProviderError) -> None:
        waiter = self._waiting.get(key)
        if waiter is None or waiter.done.done():
            return
        if not isinstance(outcome, ProviderError):
            waiter.done.set_result(outcome)
            return
        waiter.failures += 1
        if isinstance(outcome, Transient) and waiter.failures < self._retries.attempts:
            self._put(key)
        else:
            waiter.done.set_exception(outcome)

    def _fail(self, keys: Iterable[str], error: BaseException) -> None:
        for key in keys:
            if (waiter := self._waiting.get(key)) and not waiter.done.done():
                self._new.pop(key, None)
                waiter.done.set_exception(error)

    # Calls

    async def _called(self, sort: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call to the vendor, paced and retried like any other."""
        patience = Patience(self._retries.max_wait_s)

        async def once() -> T:
            with await self._pacing.begin(0, patience, ("batch", sort)) as paced:
                try:
                    result = await call()
                except ProviderError as error:
                    paced.failed(error)
                    raise
                paced.answered(Usage())
                return result

        return await retried(once, self._retries, self._sleep, partial(random.Random, str(sort)), patience)

    async def _persistently(self, sort: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """As `_called`, and again for as long as the vendor cannot be reached: the batch is there, and paid."""
        while True:
            try:
                return await self._called(sort, call)
            except (Transient, WaitedTooLong, BadReply):
                await self._sleep(self._settings.poll_s)

    def _poll_s(self, polls: int) -> float:
        return min(self._settings.poll_s, _FIRST_POLL_S * _GROWTH ** min(polls, 50))

    async def _stored(self, work: Callable[[], T]) -> T:
        """What the ledger's table does, in a thread; it is done even where who asked for it is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _started(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.all.add(task)
        task.add_done_callback(self._tasks.all.discard)
        return task

    @contextmanager
    def _not_interrupted(self) -> Iterator[None]:
        """`finish` waits for this, and ends the task after it."""
        if self._finished:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        self._tasks.busy.add(task)
        try:
            yield
        finally:
            self._tasks.busy.discard(task)
        if self._finished:
            raise asyncio.CancelledError


class _Unsure(Exception):
    """Whether the batch was created is not known."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__(str(error))
        self.error = error
