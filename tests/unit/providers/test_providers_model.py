"""One model behind the ledger: what is asked, replayed and retried, and that no order of replies matters."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from provider_samples import chat_reply, chat_request, echo_reply, echo_request

from autointerp.errors import Authentication, BadReply, ContextOverflow, NotInLedger, Quota, RateLimited, Transient
from autointerp.protocols import ChatReply, ChatRequest, Provider, Request, request_key
from autointerp.providers.ledger import Ledger
from autointerp.providers.model import LedgeredModel
from autointerp.providers.pacing import Limits, Pacing
from autointerp.providers.retries import RetryPolicy
from autointerp.providers.scripted import ScriptedProvider
from autointerp.types import Reason, Usage


class Clock:
    """Sleeps in no time, and remembers for how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def sequence(*answers: object) -> ScriptedProvider:
    remaining = list(answers)
    return ScriptedProvider(lambda _: remaining.pop(0))


async def test_a_known_request_is_not_asked_again(ledger: Ledger) -> None:
    provider = ScriptedProvider(lambda request: chat_reply() if request == chat_request() else echo_reply())
    model = LedgeredModel(provider, "m", ledger)
    first, again = [await model.chat(chat_request()) for _ in range(2)]
    assert first == again == (request_key("scripted", chat_request()), chat_reply())
    assert await model.echo(echo_request()) == (request_key("scripted", echo_request()), echo_reply())
    assert len(provider.asked) == 2
    counters = model.counters
    assert (counters.live, counters.replayed, counters.joined, counters.failed) == (2, 1, 0, 0)
    assert counters.live_usage == Usage(12, 2, 1)
    assert counters.replayed_usage == Usage(3, 2, 1)


async def test_identical_requests_in_flight_are_asked_once_across_models_of_a_ledger(ledger: Ledger) -> None:
    provider = ScriptedProvider({"hello": chat_reply()}, delay_s=0.01)
    models = [LedgeredModel(provider, "m", ledger) for _ in range(2)]
    answers = await asyncio.gather(*(model.chat(chat_request()) for model in models * 3))
    assert len(provider.asked) == 1
    assert len(set(answers)) == 1
    assert sum(model.counters.live for model in models) == 1
    assert sum(model.counters.joined for model in models) == 5


async def test_samples_of_one_prompt_are_different_requests(ledger: Ledger) -> None:
    model = LedgeredModel(sequence("one", "two"), "m", ledger)
    texts = [(await model.chat(chat_request(sample=sample)))[1].text for sample in (0, 1, 0)]
    assert texts == ["one", "two", "one"]


async def test_replay_only_never_asks(ledger: Ledger) -> None:
    provider = ScriptedProvider({"": chat_reply()})
    await LedgeredModel(provider, "m", ledger).chat(chat_request())
    replaying = LedgeredModel(ScriptedProvider({}), "m", ledger, replay_only=True)
    assert (await replaying.chat(chat_request()))[1] == chat_reply()
    with pytest.raises(NotInLedger, match=r"the ledger .*ledger.* has no reply of m") as caught:
        await replaying.chat(chat_request("new"))
    assert caught.value.reason is Reason.NOT_IN_LEDGER
    assert (replaying.counters.replayed, replaying.counters.failed, replaying.counters.attempts) == (1, 1, 0)


async def test_a_replay_repeats_the_failure_of_the_run_it_replays(ledger: Ledger) -> None:
    live = LedgeredModel(ScriptedProvider({"": ContextOverflow("too long")}), "m", ledger)
    with pytest.raises(ContextOverflow):
        await live.chat(chat_request())
    replaying = LedgeredModel(ScriptedProvider({}), "m", ledger, replay_only=True)
    with pytest.raises(ContextOverflow, match="too long"):
        await replaying.chat(chat_request())
    # while a live run asks again, and a reply then stands before the failure
    healed = LedgeredModel(ScriptedProvider({"": chat_reply()}), "m", ledger)
    assert (await healed.chat(chat_request()))[1] == chat_reply()
    assert (await replaying.chat(chat_request()))[1] == chat_reply()


async def test_transient_errors_are_retried_with_the_servers_wait_and_recorded(ledger: Ledger) -> None:
    clock = Clock()
    provider = sequence(RateLimited("429", 0.2), Transient("503"), Transient("cut"), chat_reply())
    model = LedgeredModel(provider, "m", ledger, sleep=clock.sleep)
    assert (await model.chat(chat_request()))[1] == chat_reply()
    assert clock.slept[0] == 0.2
    assert 1.0 <= clock.slept[1] <= 2.0 <= clock.slept[2] <= 4.0
    assert (model.counters.live, model.counters.attempts, model.counters.failed) == (1, 4, 0)
    assert (ledger.statistics().answered, ledger.statistics().failed) == (1, 3)


async def test_retries_end(ledger: Ledger) -> None:
    provider = sequence(*[Transient("503")] * 3)
    model = LedgeredModel(provider, "m", ledger, retries=RetryPolicy(attempts=3), sleep=Clock().sleep)
    with pytest.raises(Transient):
        await model.chat(chat_request())
    assert (model.counters.failed, model.counters.attempts) == (1, 3)
    assert ledger.get(request_key("scripted", chat_request())) is None


async def test_what_is_no_reply_is_asked_for_a_few_times(ledger: Ledger) -> None:
    policy = RetryPolicy(bad_replies=3)
    page, later = BadReply("HTML"), Transient("503")
    answered = LedgeredModel(sequence(page, page, "yes"), "m", ledger, retries=policy, sleep=Clock().sleep)
    assert (await answered.chat(chat_request()))[1].text == "yes"
    assert (answered.counters.live, answered.counters.attempts) == (1, 3)
    for outcomes in ([page] * 3, [page, later, page, later, page]):
        model = LedgeredModel(sequence(*outcomes), "m", ledger, retries=policy, sleep=Clock().sleep)
        with pytest.raises(BadReply):
            await model.chat(chat_request("another"))
        assert model.counters.attempts == len(outcomes)
    assert (ledger.statistics().answered, ledger.statistics().failed) == (1, 2 + 3 + 5)


@pytest.mark.parametrize("error", [Authentication("401"), Quota("no credit"), ContextOverflow("long")])
async def test_what_retrying_cannot_help_is_asked_once(ledger: Ledger, error: Exception) -> None:
    clock = Clock()
    provider = ScriptedProvider({"": error})
    with pytest.raises(type(error)):
        await LedgeredModel(provider, "m", ledger, sleep=clock.sleep).chat(chat_request())
    assert len(provider.asked) == 1
    assert clock.slept == []


async def test_a_reply_of_another_kind_or_shape_is_a_failure_and_never_stored(ledger: Ledger) -> None:
    for request, reply in (
        (chat_request(), echo_reply()),
        (echo_request(), chat_reply()),
        (echo_request("a\t_\n"), echo_reply()),  # two rows for one slot
        (echo_request(candidates=("0",)), echo_reply()),
    ):
        model = LedgeredModel(sequence(reply), "m", ledger, retries=RetryPolicy(bad_replies=1))
        with pytest.raises(BadReply):
            await (model.chat(request) if isinstance(request, ChatRequest) else model.echo(request))
    assert ledger.statistics().answered == 0


class Watched(ScriptedProvider):
    """Answers with the question, after `delay()` seconds, and sees how many calls are open."""

    def __init__(self, delay: object) -> None:
        super().__init__({})
        self.delay, self.open, self.most = delay, 0, 0

    async def ask(self, request: Request) -> ChatReply:
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(self.delay())
        self.open -= 1
        return chat_reply(request.messages[-1].content)


async def test_the_pacing_is_shared_and_never_exceeded(ledger: Ledger) -> None:
    provider, pacing = Watched(lambda: 0.002), Pacing(Limits(concurrency=3))
    models = [LedgeredModel(provider, name, ledger, pacing=pacing) for name in ("a", "b")]
    await asyncio.gather(*(model.chat(chat_request(str(n), model=model.model)) for model in models for n in range(12)))
    assert provider.most == 3


async def test_the_order_of_replies_does_not_matter(tmp_path: Path) -> None:
    requests = [chat_request(str(number)) for number in range(20)]
    runs = []
    for seed in (1, 2):
        order = random.Random(seed)
        async with Ledger(tmp_path / f"{seed}.sqlite") as ledger:
            model = LedgeredModel(Watched(lambda order=order: order.random() / 100), "m", ledger)
            runs.append((await asyncio.gather(*map(model.chat, requests)), model.counters))
    assert runs[0] == runs[1]
    assert [reply.text for _, reply in runs[0][0]] == [str(number) for number in range(20)]


async def test_a_request_of_another_model_is_a_mistake_of_the_caller(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="given to m"):
        await LedgeredModel(ScriptedProvider({}), "m", ledger).chat(chat_request(model="n"))


def test_waits_grow_within_their_bounds_and_the_servers_word_goes_first() -> None:
    policy, jitter = RetryPolicy(first_s=2.0, most_s=20.0), random.Random(0)
    for failures, high in ((1, 2.0), (2, 4.0), (3, 8.0), (4, 16.0), (5, 20.0), (50, 20.0)):
        waits = [policy.wait_s(failures, Transient("x"), jitter) for _ in range(200)]
        assert high / 2 <= min(waits) < max(waits) <= high
    assert policy.wait_s(1, RateLimited("x", 300.0), jitter) == 300.0
    assert policy.wait_s(1, RateLimited("x"), jitter) <= 2.0


async def test_a_script_is_a_table_or_a_function_and_says_what_it_lacks() -> None:
    table = ScriptedProvider({"known": "two words", "bad": Transient("503")})
    assert isinstance(table, Provider)
    reply = await table.ask(chat_request("known"))
    assert isinstance(reply, ChatReply)
    assert (reply.text, reply.finish, reply.usage) == ("two words", "stop", Usage(1, 2))
    with pytest.raises(Transient):
        await table.ask(chat_request("bad"))
    with pytest.raises(Exception, match="no answer to 'other'"):
        await table.ask(chat_request("other"))
    with pytest.raises(Exception, match="give an EchoReply"):
        await ScriptedProvider(lambda _: "text").ask(echo_request())
    assert [request.messages[-1].content for request in table.asked] == ["known", "bad", "other"]
