"""The ledger, in a file and on a server: durable, first answer wins, failures answer nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from provider_samples import NOON, chat_reply, chat_request, echo_reply, echo_request
from sqlalchemy import event
from support.ledgers import Place

from autointerp.errors import Authentication, BadReply, ContextOverflow, LedgerError, RateLimited
from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_statistics import Selection
from autointerp.types import Usage


async def record(ledger: Ledger, request: object, outcome: object, seconds: float = 0.5) -> object:
    return await ledger.record("p", request, outcome, asked_at=NOON, seconds=seconds)


async def test_a_recorded_reply_is_found_by_its_key_also_by_another_process(ledger: Ledger) -> None:
    for request, reply in ((chat_request(), chat_reply()), (echo_request(), echo_reply())):
        assert ledger.get(request_key("p", request)) is None
        await record(ledger, request, reply)
        assert ledger.get(request_key("p", request)) == reply
        assert ledger.get(request_key("q", request)) is None
    async with Ledger(ledger.name) as second:
        assert second.get(request_key("p", chat_request())) == chat_reply()


async def test_the_first_answer_to_a_key_stays(ledger: Ledger) -> None:
    await record(ledger, chat_request(), chat_reply("first"))
    await record(ledger, chat_request(), chat_reply("second"))
    assert ledger.get(request_key("p", chat_request())) == chat_reply("first")
    # and inside one commit
    await asyncio.gather(*(record(ledger, chat_request("x"), chat_reply(word)) for word in ("one", "two", "three")))
    assert ledger.get(request_key("p", chat_request("x"))) == chat_reply("one")
    assert ledger.statistics().answered == 2


async def test_a_failed_call_is_kept_but_answers_nothing(ledger: Ledger) -> None:
    key = request_key("p", chat_request())
    await record(ledger, chat_request(), ContextOverflow("9000 tokens"))
    assert ledger.get(key) is None
    failure = ledger.failure(key)
    assert isinstance(failure, ContextOverflow)
    assert str(failure) == "9000 tokens"
    await record(ledger, chat_request(), chat_reply())
    assert ledger.get(key) == chat_reply()
    [model] = ledger.statistics().models
    assert (model.answered, model.failed, model.usage) == (1, 1, Usage(3, 2, 1))


async def test_a_failure_that_stops_a_job_says_nothing_of_the_request(ledger: Ledger) -> None:
    await record(ledger, chat_request(), Authentication("wrong key"))
    assert ledger.failure(request_key("p", chat_request())) is None
    await record(ledger, chat_request("other"), RateLimited("slow down", 3.0))
    assert isinstance(ledger.failure(request_key("p", chat_request("other"))), RateLimited)


async def test_statistics_count_by_model_and_verify_finds_nothing_wrong(ledger: Ledger) -> None:
    for model, texts in (("b", "xy"), ("a", "x")):
        for text in texts:
            await record(ledger, chat_request(text, model=model), chat_reply())
    assert [(row.provider, row.model, row.answered) for row in ledger.statistics().models] == [
        ("p", "a", 1),
        ("p", "b", 2),
    ]
    assert ledger.statistics().models[1].usage == Usage(6, 4, 2)
    assert ledger.verify() == []


async def test_verify_names_the_calls_that_were_tampered_with(ledger: Ledger, place: Place) -> None:
    for text in ("request", "reply", "model", "status", "whole"):
        await record(ledger, chat_request(text), chat_reply())
    damaged, broken, model, status = (
        request_key("p", chat_request(text)) for text in ("request", "reply", "model", "status")
    )
    larger = """replace(request, '"max_tokens":8', '"max_tokens":9')"""
    for key, change in (
        (damaged, f"request = {larger}"),
        (broken, "reply = substr(reply, 2)"),
        (model, "model = 'another'"),
        (status, "status = 'failed'"),
    ):
        place.execute(ledger.name, f"UPDATE calls SET {change} WHERE key = '{key}'")
    problems = dict(problem.split(": ", 1) for problem in ledger.verify())
    assert set(problems) == {damaged, broken, model, status}
    with pytest.raises(LedgerError, match="damaged"):
        ledger.get(broken)


async def test_a_commit_is_shared_by_the_calls_that_wait_for_it(ledger: Ledger) -> None:
    commits: list[object] = []
    event.listen(ledger._database.engine, "commit", commits.append)
    await asyncio.gather(*(record(ledger, chat_request(str(number)), chat_reply()) for number in range(100)))
    assert ledger.statistics().answered == 100
    assert len(commits) <= 3


async def test_questions_that_come_together_each_get_their_own_answer(ledger: Ledger) -> None:
    texts = [str(number) for number in range(50)]
    await asyncio.gather(*(record(ledger, chat_request(text), chat_reply(text)) for text in texts[::2]))
    found = await asyncio.gather(*(ledger.find(request_key("p", chat_request(text))) for text in texts))
    assert found == [chat_reply(text) if int(text) % 2 == 0 else None for text in texts]


async def test_who_records_a_second_answer_is_given_the_first(ledger: Ledger) -> None:
    """As another process on the same ledger would: its result is then what a replay will find."""
    async with Ledger(ledger.name) as other:
        assert await record(other, chat_request(), chat_reply("first")) == chat_reply("first")
        assert await record(ledger, chat_request(), chat_reply("second")) == chat_reply("first")
        failure = ContextOverflow("long")
        assert await record(ledger, chat_request(), failure) is failure


async def test_text_that_a_database_cannot_hold_is_kept_as_escapes(ledger: Ledger) -> None:
    request = chat_request("NUL \0, half a pair \ud83e", model="m\0\udc00")
    await record(ledger, request, chat_reply("\0 \ud83e"))
    await record(ledger, request, BadReply("<html>\0 \ud83e"))
    assert ledger.get(request_key("p", request)) == chat_reply("\0 \ud83e")
    assert str(ledger.failure(request_key("p", request))) == "<html>\\x00 \\ud83e"
    assert ledger.verify() == []


async def test_what_is_pruned_is_said_and_nothing_else_goes(ledger: Ledger) -> None:
    for number, model in enumerate("aab"):
        request = chat_request(str(number), model=model)
        for outcome in (BadReply("HTML"), chat_reply()):
            await ledger.record("p", request, outcome, asked_at=NOON + timedelta(days=number), seconds=1)
    old = Selection(model="a", before=NOON + timedelta(hours=1))
    for selection, answered, failed in (
        (Selection(failed_only=True, before=NOON), 0, 0),
        (Selection(failed_only=True, model="b"), 0, 1),
        (old, 1, 1),
        (old, 0, 0),
        (Selection(failed_only=True), 0, 1),
    ):
        told = ledger.statistics(selection)
        assert (told.answered, told.failed) == (answered, failed)
        assert ledger.prune(selection) == told
    assert [(row["model"], row["status"]) for row in ledger.rows()] in (
        [("a", "answered"), ("b", "answered")],
        [("b", "answered"), ("a", "answered")],
    )
    assert ledger.get(request_key("p", chat_request("0", model="a"))) is None


async def test_keys_are_found_by_how_they_begin(ledger: Ledger) -> None:
    for number in range(40):
        await record(ledger, chat_request(str(number)), BadReply("HTML"))
        await record(ledger, chat_request(str(number)), chat_reply())
    every = sorted(request_key("p", chat_request(str(number))) for number in range(40))
    assert ledger.keys("", 100) == every
    for first in "0123456789abcdef":
        assert ledger.keys(first, 3) == [key for key in every if key.startswith(first)][:3]
    assert ledger.keys(every[7], 2) == [every[7]]
    assert [row["status"] for row in ledger.rows(every[7])] == ["answered", "failed"]


def test_a_ledger_that_must_be_there_is_not_made(place: Place) -> None:
    address = place.new()
    with pytest.raises(LedgerError, match="ledger: name the one you mean"):
        Ledger(address, create=False)
    asyncio.run(Ledger(address).close())
    asyncio.run(Ledger(address, create=False).close())


async def test_a_ledger_of_a_later_version_and_a_database_of_another_program(place: Place) -> None:
    later, other = place.new(), place.new()
    await Ledger(later).close()
    place.execute(later, "UPDATE about SET version = 9")
    place.execute(other, "CREATE TABLE songs (title TEXT)")
    for address, complaint in ((later, "version 9"), (other, "not a ledger")):
        with pytest.raises(LedgerError, match=complaint) as caught:
            Ledger(address)
        assert "\n" not in str(caught.value)


async def test_identical_requests_in_flight_are_asked_once_and_outlive_a_cancelled_caller(ledger: Ledger) -> None:
    asked = 0
    go = asyncio.Event()

    async def ask() -> object:
        nonlocal asked
        asked += 1
        await go.wait()
        return chat_reply()

    callers = [asyncio.create_task(ledger.joined("k", ask)) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    go.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert asked == 1
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [(chat_reply(), False)] * 2
    await ledger.joined("k", ask)
    assert asked == 2  # joining is for calls in flight; what has landed is found by `get`
