"""Requests asked in batches, through the vendors' SDKs, against servers written from the vendors' documentation."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from provider_samples import NOON, chat_reply, chat_request, echo_request
from support.batch_vendors import ANTHROPIC_ERRORS, OPENAI_ERRORS, Fault, Vendor, serving_vendor
from support.ledgers import Place

from autointerp.errors import (
    Authentication,
    BadReply,
    ContextOverflow,
    NotFound,
    ProviderError,
    ProviderRefused,
    Quota,
    Transient,
    Unsupported,
    WaitedTooLong,
)
from autointerp.protocols import ChatRequest, request_key
from autointerp.providers import AnthropicProvider, BatchSettings, Limits, OpenAIProvider, Pacing, RetryPolicy
from autointerp.providers.batch import batch_named, forget_batch, forgettable
from autointerp.providers.batch.anthropic_batches import STATUSES
from autointerp.providers.ledger import Ledger
from autointerp.providers.model import LedgeredModel

KEY = "sk-planted-0123456789"
QUICK = BatchSettings(quiet_s=0.03)
# At the vendors: the exact path of each step.
CREATE = {"openai": "POST /v1/batches$", "anthropic": "POST /v1/messages/batches$"}
LOOK = {"openai": "GET /v1/batches/", "anthropic": r"GET /v1/messages/batches/[^/]*$"}
RESULTS = {"openai": "GET /v1/files/.*/content", "anthropic": "GET .*/results$"}
LIST = {"openai": "GET /v1/batches$", "anthropic": "GET /v1/messages/batches$"}


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serving_vendor() as running:
        yield running


@pytest.fixture(params=["openai", "anthropic"])
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BATCH_KEY", KEY)
    return str(request.param)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """In a file; what differs on a server is tested where `place` is asked for."""
    async with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def provider_of(name: str, vendor: Vendor) -> OpenAIProvider | AnthropicProvider:
    if name == "openai":
        return OpenAIProvider(base_url=f"{vendor.url}/v1", key_variable="BATCH_KEY", timeout_s=20, seed=True)
    return AnthropicProvider(base_url=vendor.url, key_variable="BATCH_KEY", timeout_s=20)


async def quick(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.03))


@asynccontextmanager
async def asking(
    name: str, vendor: Vendor, ledger: Ledger, settings: BatchSettings = QUICK, **options: Any
) -> AsyncIterator[LedgeredModel]:
    provider = provider_of(name, vendor)
    options = {"sleep": quick, "retries": RetryPolicy(attempts=3), **options}
    model = LedgeredModel(provider, "m", ledger, batch=settings, **options)
    try:
        yield model
    finally:
        await model.finish()
        await provider.close()


def questions(count: int) -> list[ChatRequest]:
    return [chat_request(f"question {number}", temperature=None) for number in range(count)]


async def asked(model: LedgeredModel, requests: list[ChatRequest]) -> list[str | BaseException]:
    """The texts of the replies, and the errors."""
    ends = await asyncio.gather(*(model.chat(request) for request in requests), return_exceptions=True)
    return [end if isinstance(end, BaseException) else end[1].text for end in ends]


def answers(count: int) -> list[str]:
    return [f"answer to question {number}" for number in range(count)]


def creations(name: str, vendor: Vendor) -> int:
    return sum(re.search(CREATE[name], what) is not None for what in vendor.asked)


def states(ledger: Ledger) -> list[tuple[str, int]]:
    return [(row.state, row.requests) for row in ledger.batches.rows()]


async def test_what_is_asked_together_goes_as_one_batch_and_is_recorded(
    name: str, vendor: Vendor, place: Place
) -> None:
    async with Ledger(place.new()) as ledger, asking(name, vendor, ledger) as model:
        assert await asked(model, questions(9)) == answers(9)
        assert (model.counters.live, model.counters.failed, model.counters.attempts) == (9, 0, 9)
        assert await asked(model, questions(9)) == answers(9)
        assert model.counters.replayed == 9
        assert states(ledger) == [("done", 9)]
        assert {row["batch"] for row in ledger.rows()} == {vendor.batches[0].id}
        assert ledger.verify() == []
    assert creations(name, vendor) == 1
    assert set(vendor.ran.values()) == {1}
    assert vendor.ran.keys() == {request_key(name, request) for request in questions(9)}


async def test_a_batch_asks_and_answers_what_live_calls_do(name: str, vendor: Vendor, ledger: Ledger) -> None:
    odd = 'line\u2028separator \x85 next\r\n\U0001f989 "quoted" \\ </s>'
    vendor.answer = lambda body: odd
    requests = [*questions(3), chat_request(odd, temperature=None, stop=() if name == "openai" else ("x",))]
    provider = provider_of(name, vendor)
    live = [await provider.ask(request) for request in requests]
    await provider.close()
    async with asking(name, vendor, ledger) as model:
        batched = [(await end)[1] for end in [asyncio.ensure_future(model.chat(request)) for request in requests]]
    assert batched == live
    bodies = {json.dumps(body, sort_keys=True) for body in vendor.live}
    assert {json.dumps(body, sort_keys=True) for body in vendor.batches[0].requests.values()} == bodies


async def test_a_full_batch_is_sent_and_another_begun(name: str, vendor: Vendor, ledger: Ledger) -> None:
    async with asking(name, vendor, ledger, BatchSettings(size=4, quiet_s=0.03)) as model:
        assert await asked(model, questions(10)) == answers(10)
    assert sorted(len(batch.requests) for batch in vendor.batches) == [2, 4, 4]


async def test_a_batch_is_no_larger_than_the_vendor_takes(name: str, vendor: Vendor, ledger: Ledger) -> None:
    provider = provider_of(name, vendor)
    service = type(provider.batches())
    assert (service.most_requests, service.most_bytes) == {
        "openai": (50_000, 200_000_000),
        "anthropic": (100_000, 256_000_000),
    }[name]
    size = len(provider.batches().entry("k" * 64, questions(1)[0])) + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "most_bytes", 3 * size)
        async with asking(name, vendor, ledger) as model:
            assert await asked(model, questions(7)) == answers(7)
    assert sorted(len(batch.requests) for batch in vendor.batches) == [1, 3, 3]


@pytest.mark.parametrize("fate", ["expired", "cancelled", "overloaded"])
async def test_what_was_not_run_is_asked_again_in_the_next_batch(
    name: str, vendor: Vendor, ledger: Ledger, fate: str
) -> None:
    unlucky = {request_key(name, request) for request in questions(6)[::2]}
    vendor.fate = lambda key, tries: fate if key in unlucky and tries == 0 else ""
    async with asking(name, vendor, ledger) as model:
        assert await asked(model, questions(6)) == answers(6)
        assert (model.counters.live, model.counters.failed) == (6, 0)
    assert [len(batch.requests) for batch in vendor.batches] == [6, 3]
    assert set(vendor.ran.values()) == {1}
    assert (ledger.statistics().answered, ledger.statistics().failed) == (6, 3)


async def test_it_is_asked_again_a_limited_number_of_times(name: str, vendor: Vendor, ledger: Ledger) -> None:
    hopeless = request_key(name, questions(2)[0])
    vendor.fate = lambda key, tries: "expired" if key == hopeless else ""
    async with asking(name, vendor, ledger) as model:
        error, text = await asked(model, questions(2))
    assert (type(error), text) == (Transient, "answer to question 1")
    assert vendor.tries[hopeless] == 3


@pytest.mark.parametrize(
    ("fate", "kind"), [("bad request", ProviderRefused), ("too long", ContextOverflow), ("quota", Quota)]
)
async def test_an_entry_ends_in_the_error_of_a_live_call(
    name: str, vendor: Vendor, ledger: Ledger, fate: str, kind: type[ProviderError]
) -> None:
    refused = request_key(name, questions(3)[1])
    vendor.fate = lambda key, tries: fate if key == refused else ""
    async with asking(name, vendor, ledger) as model:
        ends = await asked(model, questions(3))
    assert (ends[0], type(ends[1]), ends[2]) == ("answer to question 0", kind, "answer to question 2")
    assert vendor.tries[refused] == 1

    status, body = OPENAI_ERRORS[fate]
    if name == "anthropic":
        inner = ANTHROPIC_ERRORS[fate]
        status, body = STATUSES[inner["type"]], {"type": "error", "request_id": None, "error": inner}
    vendor.faults = [Fault("POST /v1/(messages|chat)", status=status, body=body)]
    provider = provider_of(name, vendor)
    with pytest.raises(kind) as live:
        await provider.ask(questions(3)[1])
    await provider.close()
    assert str(ends[1]) == str(live.value)


async def test_a_batch_that_is_refused_stops_the_job_and_leaves_nothing_open(
    name: str, vendor: Vendor, ledger: Ledger
) -> None:
    error = {"type": "error", "error": {"type": "authentication_error", "message": "no"}}
    vendor.faults = [Fault(CREATE[name], status=401, body=error, times=9)]
    async with asking(name, vendor, ledger) as model:
        assert {type(end) for end in await asked(model, questions(3))} == {Authentication}
    assert states(ledger) == [("refused", 3)]
    vendor.faults = []
    async with asking(name, vendor, ledger) as model:
        assert await asked(model, questions(3)) == answers(3)


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("others", [0, 5])
async def test_a_lost_reply_to_the_creation_does_not_submit_twice(
    name: str, vendor: Vendor, ledger: Ledger, cut: str, others: int
) -> None:
    async with asking(name, vendor, ledger, BatchSettings(size=4, quiet_s=0.03)) as model:
        await asked(model, [chat_request(f"other {number}", temperature=None) for number in range(others)])
        before = len(vendor.batches)
        vendor.faults = [Fault(CREATE[name], cut=cut)]
        assert await asked(model, questions(4)) == answers(4)
    assert len(vendor.batches) == before + 1
    assert set(vendor.ran.values()) == {1}
    assert {state for state, _ in states(ledger)} == {"done"}


async def test_a_strangers_batch_of_as_many_requests_is_not_taken_for_the_lost_one(
    vendor: Vendor, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_KEY", KEY)
    vendor.accept({f"stranger-{number}": {"model": "x", "messages": [{"content": ""}]} for number in range(4)}, {}, "x")
    vendor.faults = [Fault(CREATE["anthropic"], cut="before")]
    async with asking("anthropic", vendor, ledger) as model:
        assert await asked(model, questions(4)) == answers(4)
    assert [len(batch.requests) for batch in vendor.batches] == [4, 4]
    vendor.faults = [Fault(CREATE["anthropic"], cut="after")]
    more = [chat_request(f"more {number}", temperature=None) for number in range(4)]
    async with asking("anthropic", vendor, ledger) as model:
        assert await asked(model, more) == [f"answer to more {number}" for number in range(4)]
    assert len(vendor.batches) == 3


async def test_a_page_of_html_in_place_of_the_new_batch_is_a_lost_reply(
    name: str, vendor: Vendor, ledger: Ledger
) -> None:
    vendor.faults = [Fault(CREATE[name], status=200, body=b"<html>at your service</html>")]
    async with asking(name, vendor, ledger) as model:
        assert await asked(model, questions(2)) == answers(2)
    assert len(vendor.batches) == 1


@pytest.mark.parametrize("step", ["look", "results"])
@pytest.mark.parametrize("how", ["500", "429", "cut", "html"])
async def test_a_vendor_that_cannot_be_reached_is_asked_until_it_can(
    name: str, vendor: Vendor, ledger: Ledger, step: str, how: str
) -> None:
    pattern = LOOK[name] if step == "look" else RESULTS[name]
    fault = {
        "500": Fault(pattern, times=7, status=500, body={"error": {"message": "later"}}),
        "429": Fault(pattern, times=2, status=429, body={"error": {"message": "later"}}),
        "cut": Fault(pattern, times=7, cut="after"),
        "html": Fault(pattern, times=2, status=200, body=b"<html>at your service</html>"),
    }[how]
    vendor.faults = [fault]
    async with asking(name, vendor, ledger, pacing=Pacing(clock=_hurried())) as model:
        assert await asked(model, questions(3)) == answers(3)
    assert creations(name, vendor) == 1
    assert fault.times == 0


def _hurried() -> Callable[[], float]:
    """A clock on which a pause of a second is over at the next look."""
    seconds = 0.0

    def clock() -> float:
        nonlocal seconds
        seconds += 100.0
        return seconds

    return clock


async def test_results_that_were_cut_are_read_again(name: str, vendor: Vendor, ledger: Ledger) -> None:
    vendor.faults = [Fault(RESULTS[name], shorten=40)]
    async with asking(name, vendor, ledger) as model:
        assert await asked(model, questions(3)) == answers(3)
    assert set(vendor.ran.values()) == {1}
    assert ledger.statistics().failed == 0


async def test_results_that_are_gone_are_asked_again(name: str, vendor: Vendor, ledger: Ledger) -> None:
    error = {"type": "error", "error": {"type": "not_found_error", "message": "gone"}}
    vendor.faults = [Fault(RESULTS[name], status=404, body=error)]
    async with asking(name, vendor, ledger) as model:
        assert await asked(model, questions(3)) == answers(3)
    assert [len(batch.requests) for batch in vendor.batches] == [3, 3]
    assert ledger.statistics().failed == 3


async def test_a_batch_that_is_gone_is_kept_until_it_is_forgotten(name: str, vendor: Vendor, ledger: Ledger) -> None:
    """Of another account, perhaps: it is not asked again by itself, as it may have been paid."""
    error = {"type": "error", "error": {"type": "not_found_error", "message": "no such batch"}}
    vendor.faults = [Fault(LOOK[name], times=2, status=404, body=error)]
    for _ in range(2):
        async with asking(name, vendor, ledger) as model:
            ends = await asked(model, questions(2))
        assert {type(end) for end in ends} == {NotFound}
        assert str(ends[0]).endswith(f": autointerp ledger forget {ledger.name} {vendor.batches[0].id}")
        assert states(ledger) == [("submitted", 2)]
    assert creations(name, vendor) == 1
    [row] = ledger.batches.rows()
    forget_batch(ledger, forgettable(ledger, batch_named(ledger, vendor.batches[0].id)))
    async with asking(name, vendor, ledger) as model:
        assert await asked(model, questions(2)) == answers(2)
    assert states(ledger) == [("forgotten", 2), ("done", 2)]
    assert ledger.batches.rows()[0].token == row.token


async def test_a_queue_that_is_full_is_given_smaller_batches(
    vendor: Vendor, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_KEY", KEY)
    vendor.queue = 3
    async with asking("openai", vendor, ledger) as model:
        assert await asked(model, questions(10)) == answers(10)
        assert model.counters.failed == 0
    assert max(len(batch.requests) for batch in vendor.batches if batch.failure is None) <= 3
    assert set(vendor.ran.values()) == {1}


async def test_a_batch_that_openai_refuses_whole_is_a_bad_request(
    vendor: Vendor, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it refuses a file in which a custom_id is twice; our keys are unique, so the server is made to say so."""
    monkeypatch.setenv("BATCH_KEY", KEY)
    provider = provider_of("openai", vendor)
    service = provider.batches()
    entries = [service.entry("same", request) for request in questions(2)]
    batch_id = await service.create("t", await service.upload("t", entries))
    failure = (await service.progress(batch_id)).failure
    assert type(failure) is ProviderRefused
    assert "custom_id is not unique" in str(failure)
    await provider.close()


async def test_anthropic_refuses_a_custom_id_twice_and_one_that_is_too_long(
    vendor: Vendor, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_KEY", KEY)
    provider = provider_of("anthropic", vendor)
    service = provider.batches()
    for keys in (["same", "same"], ["k" * 65]):
        entries = [service.entry(key, request) for key, request in zip(keys, questions(2), strict=False)]
        with pytest.raises(ProviderRefused):
            await service.create("t", await service.upload("t", entries))
    await provider.close()


async def test_what_no_model_of_the_vendor_takes_is_refused_before_it_is_sent(
    name: str, vendor: Vendor, ledger: Ledger
) -> None:
    async with asking(name, vendor, ledger) as model:
        with pytest.raises(Unsupported):
            await model.echo(echo_request())
        with pytest.raises(Unsupported):
            await model.chat(chat_request(temperature=0.5))
    assert vendor.asked == []
    assert states(ledger) == []


async def test_who_waited_too_long_is_told_and_the_next_run_collects(name: str, vendor: Vendor, ledger: Ledger) -> None:
    vendor.polls = 10**6
    async with asking(name, vendor, ledger) as model:
        waiting = asyncio.ensure_future(asked(model, questions(2)))
        await sent(model)
    await waiting
    async with asking(name, vendor, ledger, BatchSettings(max_wait_s=0.1)) as model:
        ends = await asked(model, questions(2))
        assert {type(end) for end in ends} == {WaitedTooLong}
        assert "max_wait_h" in str(ends[0])
    assert states(ledger) == [("submitted", 2)]
    vendor.batches[0].polls = vendor.polls = 1
    async with asking(name, vendor, ledger) as model:
        assert await asked(model, questions(2)) == answers(2)
    assert len(vendor.batches) == 1


async def sent(model: LedgeredModel) -> None:
    """Until a batch is at the vendor's."""
    while model.in_batches.since is None:
        await asyncio.sleep(0.01)


async def test_a_run_that_is_ended_leaves_its_batch_and_says_what_is_in_it(
    name: str, vendor: Vendor, ledger: Ledger
) -> None:
    vendor.polls = 10**6
    async with asking(name, vendor, ledger) as model:
        waiting = asyncio.ensure_future(asked(model, questions(5)))
        await sent(model)
        assert (model.in_batches.requests, model.in_batches.batches) == (5, 1)
        await model.finish()
        assert {type(end) for end in await waiting} == {asyncio.CancelledError}
    vendor.batches[0].polls = vendor.polls = 1
    async with asking(name, vendor, ledger) as model:  # which asks for more, too
        assert await asked(model, questions(7)) == answers(7)
    assert sorted(len(batch.requests) for batch in vendor.batches) == [2, 5]
    assert set(vendor.ran.values()) == {1}


async def test_two_runs_on_one_ledger_submit_a_request_once(name: str, vendor: Vendor, place: Place) -> None:
    """Each with a ledger object of its own, as two processes have."""
    address = place.new()
    vendor.polls = 20
    async with Ledger(address) as first, Ledger(address) as second:
        async with asking(name, vendor, first) as one, asking(name, vendor, second) as other:
            found = await asyncio.gather(asked(one, questions(6)), asked(other, questions(8)))
        assert found == [answers(6), answers(8)]
        assert first.verify() == []
    assert set(vendor.ran.values()) == {1}


async def test_a_request_that_another_run_answered_meanwhile_is_not_submitted(
    name: str, vendor: Vendor, place: Place
) -> None:
    """Between the look into the ledger and the batch, that is: while the queue waits whether more will come."""
    address = place.new()
    async with Ledger(address) as ledger, Ledger(address) as other:

        async def meanwhile(seconds: float) -> None:
            await other.record(name, questions(1)[0], chat_reply("known"), asked_at=NOON, seconds=0.1)

        async with asking(name, vendor, ledger, sleep=meanwhile) as model:
            assert await asked(model, questions(1)) == ["known"]
        assert states(ledger) == []
    assert vendor.asked == []


async def test_hundreds_wait_where_few_calls_may_be_open(name: str, vendor: Vendor, ledger: Ledger) -> None:
    pacing = Pacing(Limits(concurrency=1, requests_per_minute=600))
    async with asking(name, vendor, ledger, pacing=pacing) as model:
        assert await asked(model, questions(300)) == answers(300)
    assert len(vendor.asked) < 20


async def test_the_key_is_in_no_record(name: str, vendor: Vendor, place: Place) -> None:
    address = place.new()
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": f"not with {KEY}"}}
    vendor.faults = [Fault(CREATE[name], status=400, body=error)]
    async with Ledger(address) as ledger, asking(name, vendor, ledger) as model:
        ends = await asked(model, questions(1))
        assert isinstance(ends[0], ProviderRefused)
        assert KEY not in str(ends[0])
        [row] = ledger.batches.rows()
        assert "[key]" in str(row.note)
        assert KEY not in str(row)


async def test_an_error_of_unknown_type_is_of_that_request_alone(
    vendor: Vendor, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = AnthropicProvider(base_url=vendor.url, key_variable="").batches()
    result = {"type": "errored", "error": {"type": "error", "error": {"type": "new_error", "message": "?"}}}
    with pytest.raises(ProviderError, match="unknown type") as caught:
        await service.reply({"custom_id": "k", "result": result}, questions(1)[0])
    assert type(caught.value) is ProviderError


@pytest.mark.parametrize(
    "result", [{}, {"result": None}, {"result": {"type": "odd"}}, {"result": {"type": "succeeded"}}]
)
async def test_a_result_that_is_none_is_a_bad_reply(name: str, vendor: Vendor, result: dict[str, Any]) -> None:
    service = provider_of(name, vendor).batches()
    with pytest.raises(BadReply):
        await service.reply(result, questions(1)[0])
