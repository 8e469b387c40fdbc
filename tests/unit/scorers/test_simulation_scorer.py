"""Simulate and correlate, with models that know the truth, its opposite, nothing, or one value; and with failures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from autointerp.errors import BadJob, BadReply
from autointerp.protocols import EchoReply, EchoRequest, Judgement
from autointerp.scorers import ScoringSettings, SimulationScorer
from autointerp.simulators import AllAtOnceSimulator, SimulatorSettings
from autointerp.types import (
    ActivationRecord,
    FloatArray,
    Provenance,
    Reason,
    Role,
    Scale,
    Scored,
    Simulation,
    Stratum,
    UnitRecord,
    Unscored,
)
from tests.support.method import ScriptedModel, echo_of, explanation, make_record, make_unit_record

OPENAI = ScoringSettings("openai", ("pearson", "spearman"), ("top_and_random", "random_only"), resamples=100)
TM = ScoringSettings(
    "tm", ("spearman", "pearson", "importance_spearman"), ("all",), constant_prediction_is_zero=True, resamples=100
)
LENGTH = 16


def truth_of(number: int) -> FloatArray:
    """Some activations, different for each context, mostly zero, and not whole numbers."""
    generator = np.random.Generator(np.random.PCG64(number))
    return np.where(generator.random(LENGTH) < 0.3, generator.random(LENGTH) * 6.5, 0.0)


def records(n_top: int = 5, n_random: int = 5) -> list[ActivationRecord]:
    strata = [Stratum.TOP] * n_top + [Stratum.RANDOM] * n_random
    return [
        make_record([f"w{number}.{place}" for place in range(LENGTH)], truth_of(number), stratum, number=number)
        for number, stratum in enumerate(strata)
    ]


UNIT = make_unit_record([make_record(["a"], [6.5], number=99)], records())


def rows_for(values: Sequence[float]) -> list[list[float | None]]:
    """Log-probabilities over 0..9 whose mean is each value in [0, 9]: two neighbouring levels share it."""
    table = []
    for value in values:
        low = min(int(value), 8)
        row: list[float | None] = [None] * 10
        for level, share in ((low, low + 1 - value), (low + 1, value - low)):
            if share > 0:
                row[level] = math.log(share)
        table.append(row)
    return table


def model_that_says(predict: Callable[[FloatArray, int], FloatArray]) -> ScriptedModel:
    """A model that recognises each context of `records()` and predicts from its truth: `predict(truth, number)`."""

    def reply(request: EchoRequest) -> EchoReply:
        numbers = [int(block.split(".")[0]) for block in request.messages[-1].content.split("<start>\nw")[1:]]
        values = [float(value) for number in numbers for value in predict(truth_of(number), number)]
        return echo_of(rows_for(values))

    return ScriptedModel(echo=reply)


async def judge(
    model: ScriptedModel, settings: ScoringSettings = OPENAI, record: UnitRecord = UNIT, per_prompt: int = 2
) -> Judgement:
    simulator = AllAtOnceSimulator(SimulatorSettings(Scale.LEVELS_9, contexts_per_prompt=per_prompt, few_shot=0))
    return await SimulationScorer(simulator, settings).score(explanation(), record, model, Role.EXPLANATION, 0)


def outcomes(judgement: Judgement) -> dict[tuple[str, str], Scored | Unscored]:
    return {(score.scorer, score.metric): score.outcome for score in judgement.scores}


async def test_a_perfect_simulator_scores_one() -> None:
    for outcome in outcomes(await judge(model_that_says(lambda truth, _: truth))).values():
        assert isinstance(outcome, Scored)
        assert outcome.value == pytest.approx(1)


async def test_an_inverted_simulator_scores_minus_one() -> None:
    for outcome in outcomes(await judge(model_that_says(lambda truth, _: 9 - truth))).values():
        assert isinstance(outcome, Scored)
        assert outcome.value == pytest.approx(-1)


async def test_a_useless_simulator_scores_about_zero() -> None:
    """Of 20 unrelated predictions about 19 intervals hold 0; fewer than 15 has a chance of 1 in 40,000."""
    many = make_unit_record([make_record(["a"], [6.5], number=9999)], records(20, 20))
    found = []
    for seed in range(20):
        draws = [np.random.Generator(np.random.PCG64([seed, number])).random(LENGTH) * 9 for number in range(40)]
        judgement = await judge(model_that_says(lambda _, number, draws=draws: draws[number]), record=many)
        found.append(outcomes(judgement)["openai.simulation", "pearson"])
    assert all(isinstance(one, Scored) and abs(one.value) < 4 / math.sqrt(40 * LENGTH) for one in found)
    intervals = [one.interval for one in found if isinstance(one, Scored) and one.interval is not None]
    assert sum(interval.low < 0 < interval.high for interval in intervals) >= 15


async def test_peer_defect_a_constant_prediction_has_one_reason_and_no_number() -> None:
    """NaN, 0.0 and null in the peers; Unscored here, for every metric and sample."""
    constant = model_that_says(lambda truth, _: np.full(len(truth), 3.0))
    for outcome in outcomes(await judge(constant)).values():
        assert isinstance(outcome, Unscored)
        assert outcome.reason is Reason.CONSTANT_PREDICTION


async def test_a_constant_prediction_counts_zero_inside_tm() -> None:
    constant = model_that_says(lambda truth, _: np.full(len(truth), 3.0))
    for (scorer, _), outcome in outcomes(await judge(constant, TM)).items():
        assert scorer == "tm.simulation"
        assert isinstance(outcome, Scored)
        assert outcome.value == 0
        assert outcome.interval is not None
        assert outcome.interval.method == "constant prediction counted as 0"


@pytest.mark.parametrize("settings", [OPENAI, TM])
async def test_a_constant_truth_is_unscored_everywhere(settings: ScoringSettings) -> None:
    silent = [make_record(one.context.tokens, [0.0] * LENGTH, one.stratum, number=n) for n, one in enumerate(records())]
    for predict in (lambda truth, _: truth, lambda truth, _: np.full(len(truth), 3.0)):
        judgement = await judge(model_that_says(predict), settings, make_unit_record([], silent))
        for outcome in outcomes(judgement).values():
            assert isinstance(outcome, Unscored)
            assert outcome.reason is Reason.CONSTANT_TRUTH


async def test_the_score_is_that_of_all_tokens_concatenated() -> None:
    """LMEN concatenates; the mean of the scores of contexts is another number."""
    noisy = model_that_says(lambda truth, number: np.clip(truth * (1 + number % 3) / 3 + number / 5, 0, 9))
    judgement = await judge(noisy)
    predicted = [simulation.expected for simulation in judgement.simulations]
    true = [record.activations for record in UNIT.score.records]
    whole = stats.pearsonr(np.concatenate(true), np.concatenate(predicted)).statistic
    mean = np.mean([stats.pearsonr(t, p).statistic for t, p in zip(true, predicted, strict=True)])
    assert abs(whole - mean) > 0.01
    outcome = outcomes(judgement)["openai.simulation", "pearson"]
    assert isinstance(outcome, Scored)
    assert outcome.value == pytest.approx(whole)
    assert (outcome.n_contexts, outcome.n_tokens) == (10, 160)


async def test_peer_defect_truth_is_raw_and_never_quantised() -> None:
    predicted = model_that_says(lambda truth, _: np.minimum(np.ceil(truth / 6.5 * 9), 9))
    outcome = outcomes(await judge(predicted))["openai.simulation", "pearson"]
    assert isinstance(outcome, Scored)
    assert 0.9 < outcome.value < 0.9999


async def test_random_only_is_over_the_random_records_alone() -> None:
    top_only = model_that_says(lambda truth, number: truth if number < 5 else 9 - truth)
    found = outcomes(await judge(top_only))
    random = found["openai.simulation.random_only", "pearson"]
    both = found["openai.simulation", "pearson"]
    assert isinstance(random, Scored)
    assert isinstance(both, Scored)
    assert random.value == pytest.approx(-1)
    assert (random.n_contexts, both.n_contexts) == (5, 10)
    assert both.value > random.value


def failing(numbers: set[int], judgement_of: ScriptedModel) -> ScriptedModel:
    """As another model, but calls for some contexts bring garbage."""

    def reply(request: EchoRequest) -> EchoReply | BadReply:
        asked = {int(block.split(".")[0]) for block in request.messages[-1].content.split("<start>\nw")[1:]}
        answer = judgement_of._echo(request)  # type: ignore[operator,misc]
        return BadReply("<html>") if asked & numbers else answer  # type: ignore[no-any-return]

    return ScriptedModel(echo=reply)


async def test_peer_defect_failed_contexts_are_left_out_and_counted() -> None:
    """Peers take a failed reply for zeros, and their count of failures is always 0. Two contexts share a call here."""
    perfect = model_that_says(lambda truth, _: truth)
    judgement = await judge(failing({0}, perfect))
    assert len(judgement.simulations) == 8
    score = judgement.scores[0]
    assert (score.attempted, score.failed) == (10, 2)
    assert isinstance(score.outcome, Scored)
    assert score.outcome.value == pytest.approx(1)
    assert score.outcome.n_contexts == 8


async def test_a_constant_counted_as_zero_counts_only_the_contexts_that_were_simulated() -> None:
    """8 of 10 contexts of 16 tokens have a simulation: what failed is in no number of the outcome."""
    constant = model_that_says(lambda truth, _: np.full(LENGTH, 3.0))
    for outcome in outcomes(await judge(failing({0}, constant), TM)).values():
        assert isinstance(outcome, Scored)
        assert (outcome.value, outcome.n_contexts, outcome.n_tokens) == (0.0, 8, 8 * LENGTH)


async def test_too_many_failures_leave_the_score_unscored_with_their_reason() -> None:
    judgement = await judge(failing({0, 1, 2, 3}, model_that_says(lambda truth, _: truth)), per_prompt=1)
    both, random = judgement.scores[0], judgement.scores[2]
    assert (both.attempted, both.failed, random.attempted, random.failed) == (10, 4, 5, 0)
    assert both.outcome == Unscored(Reason.BAD_REPLY, "4 of 10 contexts failed; <html>")
    assert isinstance(random.outcome, Scored)


def test_the_most_frequent_reason_is_given() -> None:
    scorer = SimulationScorer(AllAtOnceSimulator(SimulatorSettings(Scale.LEVELS_9, 1, 0)), OPENAI)
    refused, odd, cut = Unscored(Reason.REFUSAL, "no"), Unscored(Reason.PARSE_FAILURE, "?"), Unscored(Reason.TRUNCATED)
    failures = [refused, odd, odd, refused, *([cut] * 6)]
    judgement = scorer.judge("simulation", failures, UNIT, Role.EXPLANATION, 0, explanation())
    both, random = judgement.scores[0].outcome, judgement.scores[2].outcome
    assert both == Unscored(Reason.TRUNCATED, "10 of 10 contexts failed; ")
    assert random == Unscored(Reason.TRUNCATED, "5 of 5 contexts failed; ")
    few = make_unit_record([], records(4, 0))
    tied = scorer.judge("simulation", failures[:4], few, Role.EXPLANATION, 0, explanation()).scores[0].outcome
    assert tied == Unscored(Reason.PARSE_FAILURE, "4 of 4 contexts failed; ?")


async def test_a_sample_set_without_records_is_unscored() -> None:
    judgement = await judge(model_that_says(lambda truth, _: truth), record=make_unit_record([], records(6, 0)))
    missing = outcomes(judgement)["openai.simulation.random_only", "pearson"]
    assert isinstance(missing, Unscored)
    assert missing.reason is Reason.TOO_FEW_CONTEXTS


async def test_peer_defect_the_prompt_gives_nothing_of_the_truth_away() -> None:
    """The same contexts with other activations, strata and order of merit give the same requests."""
    asked = []
    for shift in (0, 3):
        altered = [
            make_record(
                one.context.tokens, truth_of(number + shift), Stratum.RANDOM if shift else one.stratum, number=number
            )
            for number, one in enumerate(records())
        ]
        model = model_that_says(lambda truth, _: truth)
        await judge(model, record=make_unit_record([], altered))
        asked.append(model.asked)
    assert asked[0] == asked[1]


async def test_importance_leaves_out_of_context_examples_out_and_weighs_the_others_as_tm_does() -> None:
    strata = [Stratum.TOP, Stratum.SLICE_3, Stratum.RANDOM, Stratum.OUT_OF_CONTEXT]
    held = [
        make_record(
            [f"w{number}.{place}" for place in range(LENGTH)], truth_of(number), strata[number % 4], number=number
        )
        for number in range(12)
    ]
    noisy = model_that_says(lambda truth, number: np.clip(truth + (number % 4) * np.cos(np.arange(LENGTH)), 0, 9))
    settings = ScoringSettings("tm", ("importance_pearson",), ("all",), resamples=100)
    judgement = await judge(noisy, settings, make_unit_record([], held))
    (outcome,) = outcomes(judgement).values()
    # `make_statistics`: 1000 tokens, slices hold 13, 12, ... 1 of them; random examples weigh 1 (TM).
    weights = {Stratum.TOP: 1 / 1000, Stratum.SLICE_3: 10 / 1000, Stratum.RANDOM: 1.0, Stratum.OUT_OF_CONTEXT: 0.0}
    w = np.concatenate([np.full(LENGTH, weights[one.stratum]) for one in held])
    t = np.concatenate([one.activations for one in held])
    p = np.concatenate([simulation.expected for simulation in judgement.simulations])
    covariance = np.cov(t, p, aweights=w)
    assert isinstance(outcome, Scored)
    assert outcome.value == pytest.approx(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]))
    assert outcome.n_contexts == 9


async def test_a_score_carries_who_what_and_how() -> None:
    judgement = await judge(model_that_says(lambda truth, _: truth))
    assert [(score.scorer, score.metric) for score in judgement.scores] == [
        ("openai.simulation", "pearson"),
        ("openai.simulation", "spearman"),
        ("openai.simulation.random_only", "pearson"),
        ("openai.simulation.random_only", "spearman"),
    ]
    for score in judgement.scores:
        assert (score.unit, score.role, score.explanation) == (UNIT.unit, Role.EXPLANATION, "words for months")
        written, simulated = score.provenance
        assert written.method == "human"
        assert simulated.method == "all_at_once@1"
        assert len(simulated.request_keys) == len(set(simulated.request_keys)) == 5
        assert simulated.usage.prompt_tokens == 5 * 200


async def test_the_interval_depends_on_seed_and_unit_and_not_on_the_role() -> None:
    noisy = model_that_says(lambda truth, number: np.clip(truth + number * np.cos(np.arange(LENGTH)), 0, 9))
    simulator = AllAtOnceSimulator(SimulatorSettings(Scale.LEVELS_9, 1, 0))
    scorer = SimulationScorer(simulator, OPENAI)

    async def low(role: Role, seed: int) -> float:
        outcome = (await scorer.score(explanation(), UNIT, noisy, role, seed)).scores[0].outcome
        assert isinstance(outcome, Scored)
        assert outcome.interval is not None
        return outcome.interval.low

    assert await low(Role.EXPLANATION, 0) == await low(Role.OTHER_EXPLANATION, 0)
    assert await low(Role.EXPLANATION, 0) != await low(Role.EXPLANATION, 1)


def test_a_simulation_of_another_context_is_a_mistake_of_the_caller() -> None:
    scorer = SimulationScorer(AllAtOnceSimulator(SimulatorSettings(Scale.LEVELS_9, 1, 0)), OPENAI)
    stray = Simulation("", "elsewhere", np.zeros(LENGTH), Scale.LEVELS_9, Provenance("test"))
    with pytest.raises(ValueError, match="does not fit the record"):
        scorer.judge("simulation", [stray] * 10, UNIT, Role.EXPLANATION, 0)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"metrics": ("accuracy",)},
            "unknown metric 'accuracy': known are pearson, spearman, importance_pearson",
        ),
        ({"metrics": ("r2_uncentred",)}, "unknown metric"),
        ({"sample_sets": ("top",)}, "unknown sample set 'top': known are all, top_and_random, random_only"),
    ],
)
def test_unknown_metrics_and_sample_sets_are_refused(changes: dict[str, tuple[str, ...]], complaint: str) -> None:
    with pytest.raises(BadJob, match=complaint):
        ScoringSettings(**{"protocol": "x", "metrics": ("pearson",), "sample_sets": ("all",), **changes})
