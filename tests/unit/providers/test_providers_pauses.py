"""What is asked again and what is not, by status, and how long a request waits for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from loopback_server import Answer, Server
from provider_samples import chat_request, echo_request
from support.virtual_time import MemoryLedger, now, pacing_of, run_virtually

from autointerp.errors import (
    Authentication,
    ProviderError,
    ProviderRefused,
    Quota,
    RateLimited,
    Transient,
    WaitedTooLong,
)
from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger
from autointerp.providers.model import LedgeredModel
from autointerp.providers.openai_compatible import OpenAICompatibleProvider
from autointerp.providers.retries import Patience, RetryPolicy, retried
from autointerp.providers.scripted import ScriptedProvider
from autointerp.providers.token_estimate import TokenEstimate
from autointerp.types import Usage

STATUSES = (
    *(400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 418, 422, 423, 425, 428, 429, 431, 451),
    *(500, 501, 502, 503, 504, 507, 520, 522, 524, 529, 599),
)


def no(**fields: object) -> dict[str, Any]:
    return {"error": {"message": "no", "type": "error", "param": None, "code": None, **fields}}


@pytest.fixture
async def model(server: Server, ledger: Ledger) -> AsyncIterator[LedgeredModel]:
    async def no_time(_: float) -> None: ...

    provider = OpenAICompatibleProvider(base_url=server.url, key_variable="", timeout_s=3.0)
    yield LedgeredModel(provider, "m", ledger, retries=RetryPolicy(attempts=3, max_wait_s=1e9), sleep=no_time)
    await provider.close()


async def times_asked(server: Server, model: LedgeredModel, answer: Answer) -> int:
    """How often a server is asked that answers so, and would then say "bad request"."""
    server.answers = [answer, Answer(no(), 400)]
    with pytest.raises(ProviderError):
        await model.chat(chat_request())
    return len(server.asked)


@pytest.mark.parametrize("status", STATUSES)
async def test_asked_again_are_408_409_429_and_5xx_only(server: Server, model: LedgeredModel, status: int) -> None:
    asked = await times_asked(server, model, Answer(no(), status, {"retry-after": "0"}))
    assert asked == (2 if status in (408, 409, 429) or status >= 500 else 1)


@pytest.mark.parametrize("answer", [Answer(no(), 200, cut=3), Answer(no(), delay_s=6.0)], ids=["cut", "late"])
async def test_asked_again_are_dropped_connections_and_timeouts(
    server: Server, model: LedgeredModel, answer: Answer
) -> None:
    assert await times_asked(server, model, answer) == 2


async def test_an_account_without_credit_is_not_asked_again_though_it_says_429(
    server: Server, model: LedgeredModel
) -> None:
    server.answers = [Answer(no(code="insufficient_quota"), 429, {"retry-after": "1"})]
    with pytest.raises(Quota):
        await model.chat(chat_request())
    assert len(server.asked) == 1
    for status, kind in ((401, Authentication), (403, Authentication), (400, ProviderRefused)):
        server.answers = [Answer(no(), status)]
        with pytest.raises(kind):
            await model.chat(chat_request(str(status)))


async def test_which_failures_say_that_fewer_calls_would_help(server: Server) -> None:
    said = {}
    for status in (408, 409, 429, 500, 502, 503, 529):
        server.answers = [Answer(no(), status)]
        said[status] = (await failure(server, timeout_s=60.0)).overloaded
    assert [status for status, overloaded in said.items() if overloaded] == [408, 429, 503, 529]
    server.answers = [Answer(no(), delay_s=0.5)]
    assert (await failure(server, timeout_s=0.01)).overloaded


async def test_a_wait_named_with_503_is_honoured_too(server: Server) -> None:
    server.answers = [Answer(no(), 503, {"retry-after": "200"})]
    assert (await failure(server, timeout_s=60.0)).retry_after_s == 200.0


async def failure(server: Server, timeout_s: float) -> Transient:
    provider = OpenAICompatibleProvider(base_url=server.url, key_variable="", timeout_s=timeout_s)
    with pytest.raises(Transient) as caught:
        await provider.ask(chat_request())
    await provider.close()
    return caught.value


async def failing_with(errors: list[ProviderError], policy: RetryPolicy) -> tuple[list[float], ProviderError]:
    """The waits of a call that fails so, one after another, and how it ends."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ask() -> None:
        raise errors.pop(0)

    with pytest.raises(ProviderError) as caught:
        await retried(ask, policy, sleep, lambda: random.Random(0), Patience(policy.max_wait_s))
    return slept, caught.value


async def test_rate_limits_are_bounded_by_waiting_and_not_by_attempts() -> None:
    policy = RetryPolicy(attempts=2, max_wait_s=500.0)
    slept, error = await failing_with([*[RateLimited("429", 100.0)] * 5, Transient("500"), Transient("502")], policy)
    assert slept == [100.0] * 5
    assert isinstance(error, WaitedTooLong)
    slept, error = await failing_with([*[RateLimited("429", 10.0)] * 5, Transient("500"), Transient("502")], policy)
    assert len(slept) == 6
    assert str(error) == "502"


async def test_the_bound_on_waiting_is_never_crossed() -> None:
    for most in (0.0, 1.0, 59.9, 60.0, 61.0, 179.0):
        slept, error = await failing_with([RateLimited("429 slow down", 60.0)] * 9, RetryPolicy(max_wait_s=most))
        assert sum(slept) <= most < sum(slept) + 60
        assert isinstance(error, WaitedTooLong)
        assert "429 slow down" in str(error)


async def test_what_waited_too_long_ends_the_same_in_a_replay(ledger: Ledger) -> None:
    provider = ScriptedProvider({"": RateLimited("429", 1000.0)})
    with pytest.raises(WaitedTooLong) as first:
        await LedgeredModel(provider, "m", ledger).chat(chat_request())
    assert len(provider.asked) == 1
    assert ledger.get(request_key("scripted", chat_request())) is None
    with pytest.raises(WaitedTooLong) as again:
        await LedgeredModel(provider, "m", ledger, replay_only=True).chat(chat_request())
    assert str(again.value) == str(first.value)
    assert again.value.reason == first.value.reason


def test_an_estimate_holds_the_room_for_the_reply_and_learns_from_replies() -> None:
    estimate = TokenEstimate()
    request = chat_request("x" * 3000, max_tokens=500)
    assert estimate.of(request) == 1000 + 4 + 500
    assert estimate.of(echo_request("a\t_\n")) == round((4 + 6) / 3) + 8 + 1
    for _ in range(100):
        estimate.learn(request, Usage(604, 7))  # five characters to a token
    assert 1104 <= estimate.of(request) < 1130
    before = estimate.of(request)
    estimate.learn(request, Usage())  # a server that does not count
    assert estimate.of(request) == before


def test_finishing_answers_what_is_open_and_gives_up_what_waits() -> None:
    async def main() -> tuple[float, list[Any], int, int]:
        provider, ledger = ScriptedProvider({"": "hi", "1": Transient("500")}, delay_s=7.0), MemoryLedger()
        model = LedgeredModel(provider, "m", ledger, pacing=pacing_of(concurrency=3))
        callers = [asyncio.create_task(model.chat(chat_request(str(number)))) for number in range(6)]
        await asyncio.sleep(10.0)  # three have ended, one of them to wait; the other three are open
        late = asyncio.create_task(model.chat(chat_request("late")))
        await asyncio.sleep(0)
        await model.finish()
        results = await asyncio.gather(*callers, late, return_exceptions=True)
        return now(), results, len(provider.asked), len(ledger.outcomes)

    time, results, asked, recorded = run_virtually(main)
    assert time == 14.0
    assert asked == recorded == 6
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [False, True, *[False] * 4, True]
