"""A model against a server that allows so many calls a minute and refuses the rest: how many refusals it takes."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import pytest
from provider_samples import chat_request
from support.virtual_time import MemoryLedger, now, pacing_of, run_virtually

from autointerp.errors import RateLimited, Transient, WaitedTooLong
from autointerp.protocols import Capabilities, ChatReply, Reply, Request
from autointerp.providers.model import LedgeredModel
from autointerp.providers.retries import RetryPolicy
from autointerp.types import Usage


@dataclass
class Strict:
    """Allows `per_minute` calls in any 60 s; a refused one does not count. says: whether with Retry-After.

    open_at_most: answers 503 beyond so many at once.
    """

    per_minute: int = 10**9
    says: bool = True
    takes: float = 0.5
    open_at_most: int = 10**9
    name: str = "strict"
    refused: int = 0
    overloaded: int = 0
    open: int = 0
    answered: deque[float] = field(default_factory=deque)

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities()

    async def ask(self, request: Request) -> Reply:
        recent = [at for at in self.answered if at > now() - 60]
        if len(recent) >= self.per_minute:
            self.refused += 1
            raise RateLimited("429", recent[-self.per_minute] + 60 - now() if self.says else None)
        if self.open >= self.open_at_most:
            self.overloaded += 1
            raise Transient("503", overloaded=True)
        self.answered.append(now())
        self.open += 1
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.open -= 1
        return ChatReply("hi", "stop", "m", Usage(10, 2))

    async def close(self) -> None: ...


def asked(server: Strict, calls: int, max_wait_s: float = 900.0, **limits: int) -> tuple[float, list[object]]:
    """How long so many calls take, all wanted at once, and what became of them."""

    async def main() -> tuple[float, list[object]]:
        policy = RetryPolicy(max_wait_s=max_wait_s)
        model = LedgeredModel(server, "m", MemoryLedger(), pacing=pacing_of(**limits), retries=policy)
        requests = (model.chat(chat_request(str(number))) for number in range(calls))
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert model.pacing.open == model.pacing.reserved_tokens == 0
        return now(), results

    return run_virtually(main)


def failures(results: list[object]) -> list[object]:
    return [result for result in results if isinstance(result, BaseException)]


def test_a_job_that_names_the_limit_is_never_refused() -> None:
    server = Strict(per_minute=60)
    seconds, results = asked(server, 600, concurrency=32, requests_per_minute=60)
    assert (len(server.answered), server.refused, failures(results)) == (600, 0, [])
    assert 540 < seconds < 545  # ten minutes' worth, the first of them at once


@pytest.mark.parametrize(("says", "most_refused"), [(True, 0.05), (False, 0.15)])
def test_a_job_that_does_not_know_the_limit_settles_with_few_refusals(says: bool, most_refused: float) -> None:
    """Behind a plain gate of 32 places every call would find out for itself, again and again."""
    server = Strict(per_minute=60, says=says)
    seconds, results = asked(server, 600, concurrency=32)
    assert (len(server.answered), failures(results)) == (600, [])
    assert server.refused <= most_refused * 600
    assert seconds < 540 * 1.2


def test_concurrency_settles_below_what_overloads_the_server() -> None:
    server = Strict(open_at_most=10)
    _, results = asked(server, 2000, concurrency=64)
    assert failures(results) == []
    assert server.overloaded < 0.1 * 2000


def test_a_wait_above_two_minutes_is_honoured() -> None:
    server = Strict(per_minute=1)
    server.answered.append(140.0)  # the server's minute ends at 200 s
    seconds, results = asked(server, 1)
    assert (seconds, server.refused, failures(results)) == (200.5, 1, [])


def test_a_wait_beyond_what_the_job_allows_fails_each_call_with_one_line_and_asks_once() -> None:
    server = Strict(per_minute=1)
    server.answered.append(1000.0)
    seconds, results = asked(server, 5, max_wait_s=600.0, concurrency=1)
    assert (seconds, server.refused) == (0.0, 1)
    assert [type(error) for error in failures(results)] == [WaitedTooLong] * 5
    assert all("max_wait_s = 600: allow more" in str(error) and "\n" not in str(error) for error in failures(results))


def test_waits_without_a_word_of_the_server_end_as_well() -> None:
    server = Strict(per_minute=0, says=False)
    seconds, results = asked(server, 3, max_wait_s=300.0)
    assert [type(error) for error in failures(results)] == [WaitedTooLong] * 3
    assert 150 < seconds <= 300


def test_a_retry_that_waits_holds_no_place() -> None:
    class First(Strict):
        async def ask(self, request: Request) -> Reply:
            if request.messages[-1].content == "0" and not self.overloaded:
                self.overloaded += 1
                raise Transient("500")
            return await super().ask(request)

    server = First(takes=0.1)
    _, results = asked(server, 4, concurrency=1)
    assert failures(results) == []
    assert list(server.answered)[:3] == pytest.approx([0.0, 0.1, 0.2])  # while the first waits 0.5 to 1 s
    assert server.answered[3] >= 0.5
