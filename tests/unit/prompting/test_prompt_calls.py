"""Calls: a failed call is a value or stops the run, and provenance counts each call once."""

from __future__ import annotations

import asyncio

import pytest

from autointerp.errors import (
    Authentication,
    BadReply,
    BudgetExceeded,
    ContextOverflow,
    NotInLedger,
    ProviderError,
    Quota,
    RateLimited,
    Unsupported,
)
from autointerp.prompting import Call, all_of, ask_chat, ask_echo, load_template, merge_provenance
from autointerp.protocols import ChatRequest, EchoRequest, Message, request_key
from autointerp.types import Provenance, Reason, Unscored, Usage
from tests.support.method import ScriptedModel, echo_of, said

CHAT = ChatRequest("test-model", (Message("user", "hello"),), 10)
ECHO = EchoRequest("test-model", (Message("assistant", "a\t"),), (2,), ("0",))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BadReply("HTML"), Reason.BAD_REPLY),
        (ContextOverflow("9000 tokens"), Reason.CONTEXT_OVERFLOW),
        (NotInLedger("unknown request"), Reason.NOT_IN_LEDGER),
        (RateLimited("429", 3.0), Reason.PROVIDER_ERROR),
        (ProviderError("broken"), Reason.PROVIDER_ERROR),
    ],
)
async def test_a_failed_call_is_a_value_with_its_reason(error: ProviderError, reason: Reason) -> None:
    assert await ask_chat(ScriptedModel(chat=error), CHAT) == Unscored(reason, str(error))
    assert await ask_echo(ScriptedModel(echo=error), ECHO) == Unscored(reason, str(error))


@pytest.mark.parametrize("error", [Quota("no credit"), Authentication("no key"), Unsupported("no echo")])
async def test_what_would_fail_every_call_stops_the_run(error: ProviderError) -> None:
    with pytest.raises(type(error)):
        await ask_chat(ScriptedModel(chat=error), CHAT)
    with pytest.raises(type(error)):
        await ask_echo(ScriptedModel(echo=error), ECHO)


async def test_the_provenance_of_a_value_names_its_call() -> None:
    template = load_template("simulate/json@1")
    model = ScriptedModel(chat=said("hi"))
    answer = await ask_chat(model, CHAT)
    assert not isinstance(answer, Unscored)
    provenance = Call("json@1", template, model, {"few_shot": 1}, 5).provenance(*answer)
    assert provenance == Provenance(
        method="json@1",
        prompt_id="simulate/json@1",
        prompt_hash=template.sha256,
        provider="scripted",
        model_asked="test-model",
        model_served="served",
        settings={"few_shot": 1},
        seed=5,
        request_keys=(request_key("scripted", CHAT),),
        usage=Usage(100, 10),
    )


def test_merged_provenance_counts_each_call_once() -> None:
    first = Provenance("json@1", request_keys=("a",), usage=Usage(10, 1))
    second = Provenance("json@1", request_keys=("b",), usage=Usage(20, 2))
    other = Provenance("json@1", model_served="another", request_keys=("c",), usage=Usage(5, 5))
    assert merge_provenance([first, first, second, other, second]) == (
        Provenance("json@1", request_keys=("a", "b"), usage=Usage(30, 3)),
        other,
    )
    assert merge_provenance([]) == ()


async def test_results_come_in_order_whatever_finishes_first() -> None:
    async def after(steps: int) -> int:
        for _ in range(steps):
            await asyncio.sleep(0)
        return steps

    assert await all_of(after(steps) for steps in (3, 1, 2)) == [3, 1, 2]


async def test_where_one_call_stops_the_run_the_others_are_cancelled() -> None:
    cancelled = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def fails() -> None:
        await asyncio.sleep(0)
        raise BudgetExceeded("cap reached")

    with pytest.raises(BudgetExceeded, match="cap reached"):
        await all_of([waits(), fails()])
    assert cancelled.is_set()


async def test_an_echo_reply_keeps_its_rows() -> None:
    answer = await ask_echo(ScriptedModel(echo=echo_of([[-0.1]])), ECHO)
    assert not isinstance(answer, Unscored)
    assert answer[1].logprobs == ((-0.1,),)
