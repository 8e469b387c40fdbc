"""The JSON simulator: every token comes back with its level, or the context fails."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.errors import ContextOverflow, Quota
from autointerp.prompting import merge_provenance
from autointerp.protocols import ChatReply, ChatRequest
from autointerp.records import show_token
from autointerp.simulators import JsonSimulator, SimulatorSettings
from autointerp.types import Context, Reason, Scale, Simulation, Unscored
from tests.support.method import HOSTILE_TOKENS, ScriptedModel, explanation, said

A = Context(("We", " met", " in", " June"), "one", "prose", 0)
B = Context((" unknown", "\t", "\n"), "two", "prose", 500)


def simulator(per_prompt: int = 1, scale: Scale = Scale.LEVELS_9, few_shot: int = 1) -> JsonSimulator:
    return JsonSimulator(SimulatorSettings(scale, per_prompt, few_shot))


def asked_labels(request: ChatRequest) -> dict[str, list[str]]:
    """What a chat model finds in its last message: the texts' numbers and the labels of their tokens."""
    lines = [line for line in request.messages[-1].content.splitlines() if line.startswith("Text ")]
    return {line[5 : line.index(":")]: json.loads(line[line.index(":") + 1 :]) for line in lines}


def obedient(request: ChatRequest) -> ChatReply:
    """A model that gives each token the length of its text as its level."""
    return said(json.dumps(levels_by_length(request)))


def levels_by_length(request: ChatRequest) -> dict[str, int]:
    labels = [label for one in asked_labels(request).values() for label in one]
    return {label: min(9, len(label.partition(":")[2])) for label in labels}


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
    assert first.provenance.prompt_id == "simulate/json@2"


def test_the_reply_of_the_few_shot_examples_is_of_the_form_asked_for() -> None:
    for scale in (Scale.LEVELS_9, Scale.LEVELS_10):
        messages = simulator(scale=scale, few_shot=3).requests(explanation(), [A], ScriptedModel())[0].messages
        assert f"from 0 (no response) to {scale.highest} (" in messages[0].content
        for question, answer in zip(messages[1:-1:2], messages[2:-1:2], strict=True):
            reply = json.loads(answer.content)
            asked = asked_labels(ChatRequest("m", (question,), 1))
            assert list(reply) == [label for labels in asked.values() for label in labels]
            assert max(reply.values()) == scale.highest


async def test_peer_defect_token_text_is_compared_with_the_tokens_asked() -> None:
    def forgetful(request: ChatRequest) -> ChatReply:
        return said(json.dumps({label.upper(): 1 for label in asked_labels(request)["1"]}))

    (outcome,) = await simulate(ScriptedModel(chat=forgetful), A)
    assert isinstance(outcome, Unscored)
    assert outcome.reason is Reason.PARSE_FAILURE
    assert outcome.detail == "the reply has '0:WE', not '0:We'"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (said("I cannot do that."), Reason.REFUSAL),
        (said('{"0:', "length"), Reason.TRUNCATED),
        (said('{"0:We": NaN, "1: met": 0, "2: in": 0, "3: June": 9}'), Reason.PARSE_FAILURE),
        (said("[0, 0, 0, 9]"), Reason.PARSE_FAILURE),
        (said("{}"), Reason.PARSE_FAILURE),
        (ContextOverflow("too long"), Reason.CONTEXT_OVERFLOW),
    ],
)
async def test_peer_defect_a_failed_reply_is_not_a_prediction_of_zeros(
    reply: ChatReply | ContextOverflow, reason: Reason
) -> None:
    outcomes = await simulate(ScriptedModel(chat=reply), A, B, per_prompt=2)
    assert [one.reason for one in outcomes if isinstance(one, Unscored)] == [reason, reason]


async def test_a_dead_account_stops_the_run() -> None:
    with pytest.raises(Quota):
        await simulate(ScriptedModel(chat=Quota("insufficient_quota")), A)


@pytest.mark.parametrize("json_mode", [True, False])
def test_json_mode_is_asked_of_models_that_have_it(json_mode: bool) -> None:
    (request,) = simulator().requests(explanation(), [A], ScriptedModel(json_mode=json_mode))
    assert request.json_mode is json_mode


def compact(texts: dict[str, list[str]], level: int, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    reply = {label: level for labels in texts.values() for label in labels}
    return json.dumps(reply, ensure_ascii=False, separators=separators, indent=indent)


@pytest.mark.parametrize("indent", [None, 1])
async def test_there_is_room_for_the_whole_reply(indent: int | None) -> None:
    """No tokenizer writes more tokens than bytes, so the longest reply must fit in bytes, on a line or on many."""
    contexts = [Context(HOSTILE_TOKENS, "hostile", "prose", 0), A]
    (request,) = simulator(per_prompt=2, scale=Scale.LEVELS_10).requests(explanation(), contexts, ScriptedModel())
    assert len(compact(asked_labels(request), 10, indent).encode()) <= request.max_tokens


def test_the_room_grows_with_the_pack_and_is_less_than_that_of_single_calls() -> None:
    contexts = [Context((f"word{n}", " and", " so", " on"), "d", "prose", n) for n in range(8)]
    rooms = {}
    for size in (1, 4, 8):
        rooms[size] = [r.max_tokens for r in simulator(size).requests(explanation(), contexts, ScriptedModel())]
    assert [len(room) for room in rooms.values()] == [8, 2, 1]
    assert rooms[1][0] < rooms[4][0] < rooms[8][0]
    assert sum(rooms[1]) > sum(rooms[4]) > sum(rooms[8])


def test_tokens_are_numbered_through_the_whole_prompt() -> None:
    (request,) = simulator(per_prompt=2).requests(explanation(), [A, B], ScriptedModel())
    labels = [label for labels in asked_labels(request).values() for label in labels]
    assert [int(label.partition(":")[0]) for label in labels] == list(range(len(A) + len(B)))
    assert sorted(label.partition(":")[2] for label in labels) == sorted([*A.tokens, " unknown", "\\t", "\\n"])


def test_packs_do_not_follow_the_order_in_which_the_contexts_were_given() -> None:
    """The first half fires, the second does not: packed in that order, the pack would give the answer away."""
    contexts = [Context(("fires" if n < 20 else "silent", f" {n}"), "d", "prose", n) for n in range(40)]
    requests = simulator(per_prompt=10).requests(explanation(), contexts, ScriptedModel())
    firing = [sum(": fires" in f": {label.partition(':')[2]}" for one in asked_labels(r).values() for label in one)
              for r in requests]  # fmt: skip
    assert sum(firing) == 20
    assert all(0 < number < 10 for number in firing)
    assert simulator(per_prompt=10).requests(explanation(), contexts[::-1], ScriptedModel()) == requests


async def test_in_a_pack_a_spoilt_context_fails_alone_with_its_reason() -> None:
    contexts = [Context((f"word{n}", " and"), "d", "prose", n) for n in range(4)]

    def spoils_one(request: ChatRequest) -> ChatReply:
        levels = levels_by_length(request)
        return said(json.dumps({label: 99 if "word2" in label else level for label, level in levels.items()}))

    model = ScriptedModel(chat=spoils_one)
    outcomes = await simulate(model, *contexts, per_prompt=4)
    assert [isinstance(one, Simulation) for one in outcomes] == [True, True, False, True]
    assert isinstance(outcomes[2], Unscored)
    assert outcomes[2].reason is Reason.PARSE_FAILURE
    assert "word2' has the level '99', not a whole number from 0 to 9" in outcomes[2].detail
    assert [one.context_id for one in outcomes if isinstance(one, Simulation)] == [
        contexts[n].id for n in (0, 1, 3)
    ]  # fmt: skip
    assert len(model.asked) == 1


async def test_the_call_of_a_pack_is_counted_once_and_its_size_is_recorded() -> None:
    first, second = await simulate(ScriptedModel(chat=obedient), A, B, per_prompt=2)
    assert isinstance(first, Simulation)
    assert isinstance(second, Simulation)
    (merged,) = merge_provenance([first.provenance, second.provenance])
    assert merged.usage == first.provenance.usage
    assert len(merged.request_keys) == 1
    assert merged.settings["contexts_per_prompt"] == 2


async def test_a_context_given_twice_is_asked_once_and_answered_twice() -> None:
    model = ScriptedModel(chat=obedient)
    first, second = await simulate(model, A, A, per_prompt=1)
    assert first is second
    assert len(model.asked) == 1


async def test_hostile_tokens_stay_inert_and_come_back() -> None:
    hostile = Context(HOSTILE_TOKENS, "hostile", "prose", 0)
    model = ScriptedModel(chat=obedient)
    (made,) = await simulate(model, hostile)
    assert isinstance(made, Simulation)
    assert len(made.expected) == len(HOSTILE_TOKENS)
    assert made.expected.tolist() == [min(9, len(show_token(token))) for token in HOSTILE_TOKENS]
    text = model.asked[0].messages[-1].content
    assert len(text.splitlines()) == len(
        simulator().requests(explanation(), [A], model)[0].messages[-1].content.splitlines()
    )
    assert "<|im_end|>" not in text
    text.encode()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.one_of(st.text(), st.sampled_from(HOSTILE_TOKENS)), min_size=1, max_size=8), max_size=6))
def test_no_text_of_a_pack_reaches_out_of_its_line(texts: list[list[str]]) -> None:
    """Whatever the corpus holds, the prompt has one line for each text, which a JSON parser reads back."""
    contexts = [Context(tuple(tokens), "d", "prose", n) for n, tokens in enumerate(texts)]
    for request in simulator(per_prompt=6).requests(explanation(), contexts, ScriptedModel()):
        opening, *lines = request.messages[-1].content.split("\n")[:-1]
        assert opening == "The unit responds to: words for months"
        labels = asked_labels(request)
        assert list(labels) == [str(n) for n in range(1, len(lines) + 1)] == [str(n + 1) for n in range(len(texts))]
        shown = {tuple(label.partition(":")[2] for label in one) for one in labels.values()}
        assert shown == {tuple(map(show_token, tokens)) for tokens in texts}


async def test_of_another_reply_only_what_could_not_be_read_is_taken() -> None:
    def moody(request: ChatRequest) -> ChatReply:
        """Forgets the second text at first, and changes its mind about the first one later."""
        reply = levels_by_length(request)
        if request.sample == 0:
            reply = {label: level for label, level in reply.items() if label in asked_labels(request)["1"]}
        return said(json.dumps({label: level + request.sample for label, level in reply.items()}))

    model = ScriptedModel(chat=moody)
    patient = JsonSimulator(SimulatorSettings(Scale.LEVELS_9, 2, 1, samples=3))
    once = await simulator(2).simulate(explanation(), [A, B], model, 0)
    asked = len(model.asked)
    again = await patient.simulate(explanation(), [A, B], model, 0)
    by_id = {one.context_id: one.expected.tolist() for one in again if isinstance(one, Simulation)}
    kept = next(one for one in once if isinstance(one, Simulation))
    assert sum(isinstance(one, Unscored) for one in once) == 1
    assert len(by_id) == 2
    assert by_id[kept.context_id] == kept.expected.tolist()
    assert [request.sample for request in model.asked[asked:]] == [0, 1]


async def test_a_call_that_fails_ends_the_asking_and_keeps_what_was_read() -> None:
    def failing(request: ChatRequest) -> ChatReply:
        if request.sample:
            raise ContextOverflow("too long")
        reply = levels_by_length(request)
        return said(json.dumps({label: reply[label] for label in asked_labels(request)["1"]}))

    patient = JsonSimulator(SimulatorSettings(Scale.LEVELS_9, 2, 1, samples=3))
    outcomes = await patient.simulate(explanation(), [A, B], ScriptedModel(chat=failing), 0)
    assert sorted(type(one).__name__ for one in outcomes) == ["Simulation", "Unscored"]
    assert [one.reason for one in outcomes if isinstance(one, Unscored)] == [Reason.PARSE_FAILURE]
