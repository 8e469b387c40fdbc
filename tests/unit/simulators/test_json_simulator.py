"""The JSON simulator: every token comes back with its level, or the context fails."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from autointerp.errors import ContextOverflow, Quota
from autointerp.protocols import ChatReply, ChatRequest
from autointerp.simulators import JsonSimulator, SimulatorSettings
from autointerp.types import Context, Reason, Scale, Simulation, Unscored
from tests.support.method import HOSTILE_TOKENS, ScriptedModel, explanation, said

A = Context(("We", " met", " in", " June"), "one", "prose", 0)
B = Context((" unknown", "\t", "\n"), "two", "prose", 500)


def simulator(per_prompt: int = 1, scale: Scale = Scale.LEVELS_9, few_shot: int = 1) -> JsonSimulator:
    return JsonSimulator(SimulatorSettings(scale, per_prompt, few_shot))


def asked_tokens(request: ChatRequest) -> dict[str, list[str]]:
    """What a chat model finds in its last message: the texts' numbers and tokens."""
    lines = [line for line in request.messages[-1].content.splitlines() if line.startswith("Text ")]
    return {line[5 : line.index(":")]: json.loads(line[line.index(":") + 1 :]) for line in lines}


def obedient(request: ChatRequest) -> ChatReply:
    """A model that gives each token the length of its text as its level."""
    texts = asked_tokens(request)
    return said(json.dumps({name: [[token, min(9, len(token))] for token in tokens] for name, tokens in texts.items()}))


async def simulate(model: ScriptedModel, *contexts: Context, per_prompt: int = 1) -> Sequence[Simulation | Unscored]:
    return await simulator(per_prompt).simulate(explanation(), contexts, model, 0)


@pytest.mark.parametrize("per_prompt", [1, 2])
async def test_levels_come_back_for_the_contexts_in_order(per_prompt: int) -> None:
    model = ScriptedModel(chat=obedient)
    first, second = await simulate(model, A, B, per_prompt=per_prompt)
    assert isinstance(first, Simulation)
    assert isinstance(second, Simulation)
    np.testing.assert_array_equal(first.expected, [2, 4, 3, 5])
    np.testing.assert_array_equal(second.expected, [8, 2, 2])
    assert (first.context_id, second.context_id) == (A.id, B.id)
    assert first.distribution is None
    assert first.scale is Scale.LEVELS_9
    assert len(model.asked) == 2 // per_prompt
    assert first.provenance.prompt_id == "simulate/json@1"


def test_the_reply_of_the_few_shot_examples_is_of_the_form_asked_for() -> None:
    for scale in (Scale.LEVELS_9, Scale.LEVELS_10):
        messages = simulator(scale=scale, few_shot=3).requests(explanation(), [A], ScriptedModel())[0].messages
        assert f"from 0 (no response) to {scale.highest} (" in messages[0].content
        for question, answer in zip(messages[1:-1:2], messages[2:-1:2], strict=True):
            reply = json.loads(answer.content)
            asked = asked_tokens(ChatRequest("m", (question,), 1))
            assert {name: [token for token, _ in pairs] for name, pairs in reply.items()} == asked
            assert max(level for pairs in reply.values() for _, level in pairs) == scale.highest


async def test_peer_defect_token_text_is_compared_with_the_tokens_asked() -> None:
    def forgetful(request: ChatRequest) -> ChatReply:
        pairs = [[token.strip(), 1] for token in asked_tokens(request)["1"]]
        return said(json.dumps({"1": pairs}))

    (outcome,) = await simulate(ScriptedModel(chat=forgetful), A)
    assert isinstance(outcome, Unscored)
    assert outcome.reason is Reason.PARSE_FAILURE
    assert "' met'" in outcome.detail or "'met'" in outcome.detail


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (said("I cannot do that."), Reason.REFUSAL),
        (said('{"1": [["We", 0], ["', "length"), Reason.TRUNCATED),
        (said('{"1": [["We", NaN], [" met", 0], [" in", 0], [" June", 9]]}'), Reason.PARSE_FAILURE),
        (said('{"1": [0, 0, 0, 9]}'), Reason.PARSE_FAILURE),
        (ContextOverflow("too long"), Reason.CONTEXT_OVERFLOW),
    ],
)
async def test_peer_defect_a_failed_reply_is_not_a_prediction_of_zeros(
    reply: ChatReply | ContextOverflow, reason: Reason
) -> None:
    outcomes = await simulate(ScriptedModel(chat=reply), A, B, per_prompt=2)
    assert len(outcomes) == 2
    assert isinstance(outcomes[0], Unscored)
    assert outcomes[0].reason is reason


async def test_a_dead_account_stops_the_run() -> None:
    with pytest.raises(Quota):
        await simulate(ScriptedModel(chat=Quota("insufficient_quota")), A)


@pytest.mark.parametrize("json_mode", [True, False])
def test_json_mode_is_asked_of_models_that_have_it(json_mode: bool) -> None:
    (request,) = simulator().requests(explanation(), [A], ScriptedModel(json_mode=json_mode))
    assert request.json_mode is json_mode


async def test_there_is_room_for_the_whole_reply() -> None:
    """No tokenizer writes more tokens than bytes, so the longest compact reply must fit in bytes."""
    contexts = [Context(HOSTILE_TOKENS, "hostile", "prose", 0), A]
    (request,) = simulator(per_prompt=2, scale=Scale.LEVELS_10).requests(explanation(), contexts, ScriptedModel())
    texts = asked_tokens(request)
    reply = json.dumps({name: [[token, 10] for token in tokens] for name, tokens in texts.items()}, ensure_ascii=False)
    assert len(reply.replace('", ', '",').encode()) <= request.max_tokens


async def test_hostile_tokens_stay_inert_and_come_back() -> None:
    hostile = Context(HOSTILE_TOKENS, "hostile", "prose", 0)
    model = ScriptedModel(chat=obedient)
    (made,) = await simulate(model, hostile)
    assert isinstance(made, Simulation)
    assert len(made.expected) == len(HOSTILE_TOKENS)
    text = model.asked[0].messages[-1].content
    assert len(text.splitlines()) == len(
        simulator().requests(explanation(), [A], model)[0].messages[-1].content.splitlines()
    )
    assert "<|im_end|>" not in text
    text.encode()
