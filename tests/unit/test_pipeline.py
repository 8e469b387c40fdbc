"""The method for one unit, end to end with scripted models: failures are values, disasters stop the run."""

from __future__ import annotations

import json
from itertools import chain

import numpy as np
import pytest

from autointerp.controls import other_explanation
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
from autointerp.pipeline import Method, baselines, explain, judge, not_split
from autointerp.presets import OPENAI, TM, Preset
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest
from autointerp.types import Explanation, Reason, Role, Scored, Stratum, Unscored
from tests.support.method import ScriptedModel, echo_of, explanation, make_record, make_unit_record, said, unit

MONTHS = (" June", " May", " July")


def sentence(number: int) -> list[str]:
    """Eight tokens, different in each record; one in two records names a month."""
    month = MONTHS[number % 3] if number % 2 else f" day{number}"
    return [f"It{number}", " was", month, ",", " we", f" saw{number}", " it", "."]


def activations(tokens: list[str]) -> list[float]:
    return [4.0 if token in MONTHS else 0.0 for token in tokens]


def records(numbers: range, strata: tuple[Stratum, ...]) -> list[object]:
    return [
        make_record(sentence(n), activations(sentence(n)), strata[n % len(strata)], number=n, focus=2) for n in numbers
    ]


STRATA = (Stratum.RANDOM, Stratum.TOP)
UNIT = make_unit_record(records(range(101, 107), (Stratum.TOP,)), records(range(12), STRATA))  # type: ignore[arg-type]


def reader(request: EchoRequest) -> EchoReply:
    """A model that believes an explanation about months, and any other only at commas."""
    believes = "month" in request.messages[-2].content
    text = request.messages[-1].content
    tokens = [text[:slot].split("\n")[-1].removesuffix("\t") for slot in request.slots]
    wanted = MONTHS if believes else (" was",)
    size = len(request.candidates)
    return echo_of([[0.0 if level == (size - 1) * (t in wanted) else -40.0 for level in range(size)] for t in tokens])


def writer(request: ChatRequest) -> ChatReply:
    return said("They all name a month.\n<answer>names of months</answer>" if request.max_tokens > 100 else "months")


def model(**changes: object) -> ScriptedModel:
    return ScriptedModel(**{"chat": writer, "echo": reader, **changes})  # type: ignore[arg-type]


def small(preset: Preset) -> Method:
    return Method.of(preset, resamples=200)


@pytest.mark.parametrize("preset", [OPENAI, TM], ids=lambda preset: preset.name)
async def test_a_good_explanation_beats_its_control_and_the_constant(preset: Preset) -> None:
    method = small(preset)
    method.check(model())
    written = await explain(method, UNIT, model(), 0)
    assert isinstance(written, Explanation)
    assert "months" in written.text
    others = {unit(0): written, unit(1): explanation("punctuation", unit(1))}
    own = await judge(method, UNIT, written, Role.EXPLANATION, model(), 0)
    control = await judge(method, UNIT, other_explanation(unit(0), others, 0), Role.OTHER_EXPLANATION, model(), 0)
    lookup, constant = baselines(method, UNIT, 0)

    assert isinstance(own.scores[0].outcome, Scored)
    assert own.scores[0].outcome.value > 0.8
    assert isinstance(control.scores[0].outcome, Scored)
    assert control.scores[0].outcome.value < 0.1
    assert control.scores[0].explanation == "punctuation"
    assert {score.role for score in control.scores} == {Role.OTHER_EXPLANATION}
    assert isinstance(lookup.scores[0].outcome, Scored)
    assert lookup.scores[0].outcome.value > 0.8
    assert {score.scorer.split(".")[1] for score in lookup.scores} == {"token_lookup"}
    assert {(score.role, score.explanation) for score in lookup.scores} == {(Role.BASELINE, None)}
    said_constant = constant.scores[0].outcome
    if preset.constant_prediction_is_zero:
        assert isinstance(said_constant, Scored)
        assert said_constant.value == 0
    else:
        assert isinstance(said_constant, Unscored)
        assert said_constant.reason is Reason.CONSTANT_PREDICTION


def test_a_model_that_takes_no_temperature_is_refused_before_it_is_asked_and_what_to_do_is_said() -> None:
    reasoning = model(temperature=False)
    with pytest.raises(Unsupported, match='explainer_temperature = "none" and simulator_temperature = "none"'):
        small(OPENAI).check(reasoning)
    small(OPENAI.with_settings({"explainer_temperature": "none", "simulator_temperature": "none"})).check(reasoning)


def test_a_simulator_that_does_not_generate_is_not_asked_for_its_temperature() -> None:
    """All at once reads log-probabilities: its temperature is sent to nobody, so it is no reason to refuse."""
    reasoning = model(temperature=False)
    quiet = OPENAI.with_settings({"explainer_temperature": "none"})
    small(quiet).check(reasoning)
    small(OPENAI).check(model(), reasoning)  # a model of its own for the simulator
    small(OPENAI.with_settings({"simulator": "json"})).check(model())
    with pytest.raises(Unsupported, match='simulator_temperature = "none"'):
        small(quiet.with_settings({"simulator": "json"})).check(reasoning)
    with pytest.raises(Unsupported, match='simulator_temperature = "none"'):
        small(OPENAI.with_settings({"simulator": "json"})).check(model(), reasoning)


async def test_a_chat_model_without_logprobs_serves_the_same_preset_through_json() -> None:
    def chatty(request: ChatRequest) -> ChatReply:
        if request.max_tokens == OPENAI.explainer_max_tokens:
            return said("months")
        texts = [json.loads(line.split(": ", 1)[1]) for line in request.messages[-1].content.splitlines()[1:]]
        levels = {label: 9 * (label.partition(":")[2] in MONTHS) for label in chain(*texts)}
        return said(json.dumps(levels))

    plain = model(chat=chatty, echo=None, prompt_logprobs=False)
    with pytest.raises(Unsupported, match='simulator = "json"'):
        small(OPENAI).check(plain)
    method = small(OPENAI.with_settings({"simulator": "json", "contexts_per_prompt": 5}))
    method.check(plain)
    judgement = await judge(method, UNIT, await explain(method, UNIT, plain, 0), Role.EXPLANATION, plain, 0)
    assert isinstance(judgement.scores[0].outcome, Scored)
    assert judgement.scores[0].outcome.value > 0.99


async def test_of_a_pack_what_does_not_parse_is_counted_as_failed_and_the_rest_is_scored() -> None:
    def spoils_one(request: ChatRequest) -> ChatReply:
        texts = [json.loads(line.split(": ", 1)[1]) for line in request.messages[-1].content.splitlines()[1:]]
        levels = {label: 9 * (label.partition(":")[2] in MONTHS) for label in chain(*texts)}
        return said(json.dumps({label: 99 if ":It7" in label else level for label, level in levels.items()}))

    method = small(OPENAI.with_settings({"simulator": "json", "contexts_per_prompt": 4}))
    asked = model(chat=spoils_one)
    judgement = await judge(method, UNIT, explanation(), Role.EXPLANATION, asked, 0)
    score = judgement.scores[0]
    assert isinstance(score.outcome, Scored)
    assert (score.attempted, score.failed, score.outcome.n_contexts) == (12, 1, 11)
    assert (len(asked.asked), len(judgement.simulations)) == (3, 11)
    assert method.preset.changed()["contexts_per_prompt"] == {"paper": 1, "used": 4}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RateLimited("429 after 5 tries"), Reason.PROVIDER_ERROR),
        (BadReply("<html>"), Reason.BAD_REPLY),
        (ContextOverflow("9000 tokens"), Reason.CONTEXT_OVERFLOW),
        (NotInLedger("unknown request"), Reason.NOT_IN_LEDGER),
    ],
)
async def test_a_failed_call_is_unscored_with_its_reason(error: ProviderError, reason: Reason) -> None:
    method = small(OPENAI)
    assert await explain(method, UNIT, model(chat=error), 0) == Unscored(reason, str(error))
    judgement = await judge(method, UNIT, explanation(), Role.EXPLANATION, model(echo=error), 0)
    assert judgement.simulations == ()
    for score in judgement.scores:
        assert isinstance(score.outcome, Unscored)
        assert score.outcome.reason is reason
        assert score.failed == score.attempted > 0


@pytest.mark.parametrize("error", [Quota("insufficient_quota"), Authentication("401"), Unsupported("no echo")])
async def test_peer_defect_a_provider_out_of_credit_is_never_a_score(error: ProviderError) -> None:
    """A peer stored a 20% score when the account was empty, which could not be run again."""
    method = small(OPENAI)
    with pytest.raises(type(error)):
        await explain(method, UNIT, model(chat=error), 0)
    with pytest.raises(type(error)):
        await judge(method, UNIT, explanation(), Role.EXPLANATION, model(echo=error), 0)


async def test_the_cap_on_spending_stops_the_run() -> None:
    def capped(_: object) -> ChatReply:
        raise BudgetExceeded("1.00 of 1.00 spent")

    with pytest.raises(BudgetExceeded):
        await explain(small(OPENAI), UNIT, model(chat=capped), 0)
    with pytest.raises(BudgetExceeded):
        await judge(small(OPENAI), UNIT, explanation(), Role.EXPLANATION, model(echo=capped), 0)


async def test_an_error_that_a_component_lets_through_is_an_outcome_too() -> None:
    """Components of other packages may not catch what ours do."""

    class Careless:
        name, version = "careless", 1

        async def explain(self, *_: object) -> Explanation:
            raise BadReply("<html>")

        async def score(self, *_: object) -> None:
            raise BadReply("<html>")

        def unscored(self, *given: object) -> object:
            return small(OPENAI).scorer.unscored(*given)  # type: ignore[arg-type]

    ours = small(OPENAI)
    method = Method(ours.preset, Careless(), ours.simulator, Careless(), ours.bare)  # type: ignore[arg-type]
    assert await explain(method, UNIT, model(), 0) == Unscored(Reason.BAD_REPLY, "<html>")
    judgement = await judge(method, UNIT, explanation(), Role.EXPLANATION, model(), 0)
    assert {score.outcome for score in judgement.scores} == {Unscored(Reason.BAD_REPLY, "<html>")}


async def test_peer_defect_a_unit_without_an_explanation_keeps_its_rows() -> None:
    """A peer drops units that do not parse from the mean without a word; here each scorer says why."""
    method = small(OPENAI)
    lost = await explain(method, UNIT, model(chat=said("Well.\nLet me see.")), 0)
    assert isinstance(lost, Unscored)
    asked = model()
    judgement = await judge(method, UNIT, lost, Role.EXPLANATION, asked, 0)
    assert [score.scorer for score in judgement.scores[:: len(OPENAI.metrics)]] == [
        "openai.simulation",
        "openai.simulation.random_only",
    ]
    for score in judgement.scores:
        assert isinstance(score.outcome, Unscored)
        assert score.outcome.reason is Reason.NO_EXPLANATION
        assert score.outcome.detail.startswith("parse_failure: the reply has 2 lines")
        assert (score.attempted, score.failed, score.explanation) == (0, 0, None)
    assert asked.asked == []


async def test_a_control_that_does_not_exist_is_no_control() -> None:
    why = other_explanation(unit(0), {unit(0): explanation()}, 0)
    judgement = await judge(small(OPENAI), UNIT, why, Role.OTHER_EXPLANATION, model(), 0)
    assert {score.outcome for score in judgement.scores} == {why}


async def test_the_same_seed_gives_the_same_requests_and_scores() -> None:
    runs = []
    for _ in range(2):
        asked = model()
        method = small(OPENAI)
        written = await explain(method, UNIT, asked, 7)
        judgement = await judge(method, UNIT, written, Role.EXPLANATION, asked, 7)
        runs.append((asked.asked, judgement.scores, [one.expected.tolist() for one in judgement.simulations]))
    assert runs[0] == runs[1]


async def test_the_simulator_is_not_shown_a_single_activation() -> None:
    """The same texts with other activations bring the same requests: nothing of the truth travels."""
    method = small(TM)
    louder = [
        make_record(one.context.tokens, 3 * np.cos(one.activations), one.stratum, number=n, focus=2)
        for n, one in enumerate(UNIT.score.records)
    ]
    asked = []
    for scored in (UNIT.score.records, louder):
        listening = model()
        await judge(method, make_unit_record([], scored), explanation(), Role.EXPLANATION, listening, 0)
        asked.append(listening.asked)
    assert asked[0] == asked[1]


def test_baselines_can_be_limited_to_the_metric_that_ranks() -> None:
    (lookup, _) = baselines(small(OPENAI), UNIT, 0, metrics=(OPENAI.primary_metric,))
    assert [(score.scorer, score.metric) for score in lookup.scores] == [
        ("openai.token_lookup", "pearson"),
        ("openai.token_lookup.random_only", "pearson"),
    ]


def test_a_unit_that_could_not_be_split_keeps_its_rows_too() -> None:
    why = Unscored(Reason.TOO_FEW_CONTEXTS, "top: 3 of 16")
    (judged,) = not_split(small(OPENAI), unit(), why, Role.EXPLANATION)
    assert len(judged.scores) == len(OPENAI.sample_sets) * len(OPENAI.metrics)
    assert {score.outcome for score in judged.scores} == {why}
    bare = not_split(small(OPENAI), unit(), why, Role.BASELINE)
    assert [one.scores[0].scorer for one in bare] == ["openai.token_lookup", "openai.constant"]
    assert {(score.role, score.outcome) for one in bare for score in one.scores} == {(Role.BASELINE, why)}
