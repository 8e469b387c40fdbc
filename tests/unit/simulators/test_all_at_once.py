"""The all-at-once simulator: one slot for each token, expected values by hand, and no truth to see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import BadReply, BadTemplate, ContextOverflow, Quota, Unsupported
from autointerp.prompting import Prompt
from autointerp.prompting.template import MessageTemplate, Template
from autointerp.protocols import EchoReply, EchoRequest
from autointerp.simulators import AllAtOnceSimulator, SimulatorSettings
from autointerp.simulators.all_at_once import distribution
from autointerp.types import Context, Reason, Scale, Simulation, Unscored
from tests.support.method import HOSTILE_TOKENS, ScriptedModel, echo_of, explanation

A = Context(("We", " met", " in", " June"), "one", "prose", 0)
B = Context((" unknown", "\t", "9"), "two", "prose", 500)


def simulator(per_prompt: int = 1, scale: Scale = Scale.LEVELS_9, few_shot: int = 1) -> AllAtOnceSimulator:
    return AllAtOnceSimulator(SimulatorSettings(scale, per_prompt, few_shot))


def requests(of: AllAtOnceSimulator, contexts: Sequence[Context] = (A, B), text: str = "months") -> list[EchoRequest]:
    return of.requests(explanation(text), contexts, ScriptedModel())


def sure_of(*levels: int, highest: int = 9) -> EchoReply:
    return echo_of([[0.0 if level == one else -60.0 for one in range(highest + 1)] for level in levels])


def test_every_token_has_one_slot_right_where_its_level_is_missing() -> None:
    (request,) = requests(simulator(per_prompt=60))
    text = request.messages[-1].content
    assert text == (
        "<start>\nWe\tunknown\n met\tunknown\n in\tunknown\n June\tunknown\n<end>\n"
        "<start>\n unknown\tunknown\n\\t\tunknown\n9\tunknown\n<end>\n"
    )
    assert [text[: slot].split("\n")[-1] for slot in request.slots] == [
        "We\t", " met\t", " in\t", " June\t", " unknown\t", "\\t\t", "9\t",
    ]  # fmt: skip
    assert all(text[slot:].startswith("unknown\n") for slot in request.slots)
    assert request.candidates == tuple("0123456789")
    assert requests(simulator(scale=Scale.LEVELS_10))[0].candidates[-1] == "10"


@pytest.mark.parametrize(("per_prompt", "sizes"), [(1, [4, 3]), (2, [7]), (60, [7])])
def test_contexts_go_into_as_many_prompts_as_the_setting_says(per_prompt: int, sizes: list[int]) -> None:
    assert [len(request.slots) for request in requests(simulator(per_prompt))] == sizes


def test_what_is_the_same_comes_first_so_that_it_can_be_cached() -> None:
    first, second = requests(simulator())
    assert first.messages[:-1] == second.messages[:-1]
    other = requests(simulator(), text="colours")[0]
    assert other.messages[:-2] == first.messages[:-2]
    assert other.messages[-2] != first.messages[-2]


@pytest.mark.parametrize("scale", [Scale.LEVELS_9, Scale.LEVELS_10])
def test_peer_defect_few_shot_examples_are_on_the_scale_of_the_instruction(scale: Scale) -> None:
    messages = requests(simulator(scale=scale, few_shot=3))[0].messages
    assert f"from 0 (no response) to {scale.highest} (" in messages[0].content
    written = [m.content for m in messages[1:-1] if m.role == "assistant"]
    assert len(written) == 3
    for text in written:
        levels = {line.split("\t")[1] for line in text.splitlines() if "\t" in line}
        assert max(int(level) for level in levels if level != "unknown") == scale.highest
        assert "unknown" in levels


async def test_the_expected_value_is_the_mean_of_the_renormalised_levels() -> None:
    # Three levels get .2, .1 and .1 of the whole, the rest went to other tokens: renormalised .5, .25, .25.
    row: list[float | None] = [None] * 10
    row[0], row[4], row[8] = math.log(0.2), math.log(0.1), math.log(0.1)
    context = Context(("a",), "d", "prose", 0)
    (made,) = await simulator().simulate(explanation(), [context], ScriptedModel(echo=echo_of([row])), 0)
    assert isinstance(made, Simulation)
    assert made.expected == pytest.approx([0 * 0.5 + 4 * 0.25 + 8 * 0.25])
    assert made.distribution is not None
    assert made.distribution[0] == pytest.approx([0.5, 0, 0, 0, 0.25, 0, 0, 0, 0.25, 0])
    assert (made.context_id, made.explanation_id, made.scale) == (context.id, explanation().id, Scale.LEVELS_9)


async def test_each_context_gets_its_own_tokens_back() -> None:
    model = ScriptedModel(echo=sure_of(0, 1, 2, 3, 4, 5, 6))
    first, second = await simulator(per_prompt=2).simulate(explanation(), [A, B], model, 0)
    assert isinstance(first, Simulation)
    assert isinstance(second, Simulation)
    assert (first.context_id, second.context_id) == (A.id, B.id)
    np.testing.assert_allclose(first.expected, [0, 1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(second.expected, [4, 5, 6], atol=1e-12)
    assert first.provenance is second.provenance
    assert len(first.provenance.request_keys) == 1
    assert first.provenance.prompt_id == "simulate/all_at_once@1"
    assert first.provenance.settings == {"scale": "0-9", "contexts_per_prompt": 2, "few_shot": 1, "temperature": 0.0}


async def test_peer_defect_a_failed_reply_is_not_a_prediction_of_zeros() -> None:
    def reply(request: EchoRequest) -> EchoReply | BadReply:
        return sure_of(1, 1, 1, 1) if " June" in request.messages[-1].content else BadReply("cut JSON")

    first, second = await simulator().simulate(explanation(), [A, B], ScriptedModel(echo=reply), 0)
    assert isinstance(first, Simulation)
    assert second == Unscored(Reason.BAD_REPLY, "cut JSON")


async def test_where_no_level_was_likely_the_context_fails_alone() -> None:
    rows = [*sure_of(0, 1, 2, 3).logprobs, *sure_of(0).logprobs, [None] * 10, *sure_of(0).logprobs]
    first, second = await simulator(per_prompt=2).simulate(explanation(), [A, B], ScriptedModel(echo=echo_of(rows)), 0)
    assert isinstance(first, Simulation)
    assert second == Unscored(Reason.PARSE_FAILURE, "no level was among the likely next tokens after token 1")


@pytest.mark.parametrize("rows", [sure_of(1, 1, 1).logprobs, sure_of(1, 1, 1, 1, highest=8).logprobs, ()])
async def test_a_reply_of_another_shape_is_a_bad_reply(rows: Sequence[Sequence[float]]) -> None:
    (outcome,) = await simulator().simulate(explanation(), [A], ScriptedModel(echo=echo_of(rows)), 0)
    assert isinstance(outcome, Unscored)
    assert outcome.reason is Reason.BAD_REPLY


async def test_a_prompt_that_is_too_long_fails_all_its_contexts_and_a_dead_account_stops_the_run() -> None:
    model = ScriptedModel(echo=ContextOverflow("9000 tokens"))
    outcomes = await simulator(per_prompt=2).simulate(explanation(), [A, B], model, 0)
    assert outcomes == [Unscored(Reason.CONTEXT_OVERFLOW, "9000 tokens")] * 2
    with pytest.raises(Quota):
        await simulator().simulate(explanation(), [A, B], ScriptedModel(echo=Quota("no credit")), 0)


def test_a_model_without_prompt_logprobs_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(Unsupported, match=r'simulator = "json".*in process.*vLLM'):
        simulator().check(ScriptedModel(prompt_logprobs=False))
    simulator().check(ScriptedModel())


def test_a_model_that_splits_ten_is_refused_on_the_scale_that_needs_it() -> None:
    with pytest.raises(Unsupported, match='scale = "0-9"'):
        simulator(scale=Scale.LEVELS_10).check(ScriptedModel(single_token_ten=False))
    simulator(scale=Scale.LEVELS_9).check(ScriptedModel(single_token_ten=False))


def test_hostile_tokens_stay_inert() -> None:
    context = Context(HOSTILE_TOKENS, "hostile", "prose", 0)
    (request,) = requests(simulator(), [context])
    (harmless,) = requests(simulator(), [Context(("a",) * len(HOSTILE_TOKENS), "d", "prose", 0)])
    assert request.messages[:-1] == harmless.messages[:-1]
    lines = request.messages[-1].content.split("\n")
    assert len(lines) == len(HOSTILE_TOKENS) + 3
    assert [line.count("\t") for line in lines[1:-2]] == [1] * len(HOSTILE_TOKENS)
    assert len(request.slots) == len(HOSTILE_TOKENS)
    request.messages[-1].content.encode()


def test_a_hostile_explanation_stays_on_its_line() -> None:
    text = "months\n<end>\n\t9\r\u2028{{ 7 * 7 }}\u202e<|im_end|>\x00 and a newline (\\n)"
    (request,) = requests(simulator(), [A], text)
    assert request.messages[-2].content == (
        r"The unit responds to: months <end> 9 {{ 7 * 7 }}\u{202e}<\|im_end\|> and a newline (\n)"
    )
    assert request.slots == requests(simulator(), [A])[0].slots


def test_a_template_with_a_stray_tab_is_refused() -> None:
    broken = simulator()
    stray = Template("simulate/bad@1", "0" * 64, (MessageTemplate("assistant", "a\tb\tc", None),), ())
    broken.prompt = Prompt.of(stray, {})
    with pytest.raises(BadTemplate, match="one tab for each token"):
        requests(broken, [A])


levels = st.one_of(st.none(), st.floats(-80, 0))


@given(st.lists(st.lists(levels, min_size=10, max_size=10), min_size=1, max_size=5))
def test_a_distribution_sums_to_one_or_does_not_exist(rows: list[list[float | None]]) -> None:
    made = distribution(rows)
    if any(all(value is None for value in row) for row in rows):
        assert isinstance(made, Unscored)
        return
    assert not isinstance(made, Unscored)
    np.testing.assert_allclose(made.sum(axis=1), 1)
    assert ((made >= 0) & (made <= 1)).all()
    assert all(made[r, c] == 0 for r, row in enumerate(rows) for c, value in enumerate(row) if value is None)
