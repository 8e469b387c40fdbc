"""Explainers: they see the explain split and nothing else, on one scale, and a failed reply is never an explanation."""

from __future__ import annotations

import re

import numpy as np
import pytest

from autointerp.errors import BadReply, Quota
from autointerp.explainers import ExplainerSettings, IntervalExplainer, TokenActivationExplainer
from autointerp.protocols import ChatRequest
from autointerp.types import ExplainSplit, Explanation, Reason, Scale, Stratum, Unscored
from tests.support.method import HOSTILE_TOKENS, ScriptedModel, make_record, make_statistics, said, unit

Explainer = TokenActivationExplainer | IntervalExplainer
BOTH = pytest.mark.parametrize("explainer", [TokenActivationExplainer, IntervalExplainer])
GOOD = {TokenActivationExplainer: "names of months", IntervalExplainer: "Months.\n<answer>names of months</answer>"}
PROMPTS = {TokenActivationExplainer: "token_activation/explain@2", IntervalExplainer: "interval/explain@1"}

SPLIT = ExplainSplit(
    (
        make_record(["We", " met", " in", " June", "."], [0, 0, 0, 6.5, 0.7], number=1),
        make_record([" July", " 4"], [3.3, 0], Stratum.SLICE_5, number=2),
        make_record([" a", " dull", " day"], [0, -1, 0], Stratum.RANDOM, number=3),
        make_record([" March", " on"], [0.6, 0], Stratum.OUT_OF_CONTEXT, number=4),
    )
)


def settings(scale: Scale = Scale.LEVELS_10, few_shot: int = 2, temperature: float | None = 0.0) -> ExplainerSettings:
    return ExplainerSettings(scale, few_shot, 60, temperature)


def request(explainer: Explainer, split: ExplainSplit = SPLIT, model: ScriptedModel | None = None) -> ChatRequest:
    return explainer.request(unit(), split, make_statistics(), model or ScriptedModel(), 0)


async def explain(explainer: Explainer, model: ScriptedModel, split: ExplainSplit = SPLIT) -> Explanation | Unscored:
    return await explainer.explain(unit(), split, make_statistics(), model, 0)


def question(explainer: Explainer, split: ExplainSplit = SPLIT) -> str:
    """The message about the unit itself."""
    return request(explainer, split).messages[-1].content


def blocks(text: str) -> list[list[tuple[str, str]]]:
    """The lines of each block as (token, level): a block is a run of lines with a tab."""
    found = re.findall(r"(?:^[^\t\n]*\t\d+\n)+", text, re.MULTILINE)
    return [[tuple(line.split("\t")) for line in block.splitlines()] for block in found]  # type: ignore[misc]


@BOTH
async def test_the_reply_becomes_the_explanation_with_its_provenance(explainer: type[Explainer]) -> None:
    model = ScriptedModel(chat=said(GOOD[explainer]))
    made = await explain(explainer(settings()), model)
    assert isinstance(made, Explanation)
    assert (made.unit, made.text) == (unit(), "names of months")
    assert made.origin == made.provenance.method == f"{explainer.name}@{explainer.version}"
    assert made.provenance.prompt_id == PROMPTS[explainer]
    assert made.provenance.settings == {"scale": "0-10", "few_shot": 2, "max_tokens": 60, "temperature": 0.0}
    assert len(made.provenance.request_keys) == len(model.asked) == 1


def test_the_levels_are_those_of_lmen() -> None:
    # min(10, floor(10 * relu(x) / max)) with max 6.5: 6.5 -> 10, 0.7 -> 1, 3.3 -> 5, -1 -> 0, 0.6 -> 0
    shown = blocks(question(TokenActivationExplainer(settings())))
    assert shown[:4] == [
        [("We", "0"), (" met", "0"), (" in", "0"), (" June", "10"), (".", "1")],
        [(" July", "5"), (" 4", "0")],
        [(" a", "0"), (" dull", "0"), (" day", "0")],
        [(" March", "0"), (" on", "0")],
    ]


def test_peer_defect_the_maximum_of_the_explain_split_is_used() -> None:
    """One peer takes a maximum as an argument and ignores it: levels must change with the split's own maximum."""
    louder = ExplainSplit((*SPLIT.records, make_record([" May"], [65.0], number=9)))
    assert blocks(question(TokenActivationExplainer(settings()), louder))[0][3] == (" June", "1")


@pytest.mark.parametrize(("activations", "repeated"), [([5, 0, 0, 0, 0, 0], True), ([5, 0, 0, 0, 0], False)])
def test_sparse_blocks_are_repeated_without_the_zeros(activations: list[float], repeated: bool) -> None:
    split = ExplainSplit((make_record(list("abcdef")[: len(activations)], activations),))
    shown = blocks(question(TokenActivationExplainer(settings()), split))
    assert shown[1:-1] == ([[("a", "10")]] if repeated else [])


def test_the_strongest_tokens_of_the_explain_split_stand_last() -> None:
    """Ten tokens above 0 in two contexts: eight are listed, the strongest first, and no text of another split."""
    one = make_record(list("abcdef"), [1, 2, 3, 4, 5, 6], number=1)
    other = make_record(list("ghijkl"), [10, 0, 7, 6, 0, 2], number=2)
    shown = blocks(question(TokenActivationExplainer(settings()), ExplainSplit((one, other))))[-1]
    expected = [("g", 10), ("i", 7), ("f", 6), ("j", 6), ("e", 5), ("d", 4), ("c", 3), ("b", 2)]
    assert shown == [(token, str(level)) for token, level in expected]


def test_the_interval_explainer_sorts_by_interval_and_names_it() -> None:
    text = question(IntervalExplainer(settings(Scale.LEVELS_9)), ExplainSplit(tuple(reversed(SPLIT.records))))
    headings = re.findall(r"^(Top interval|Interval \d+|Random text|Strongest tokens in other places):$", text, re.M)
    assert headings == ["Top interval", "Interval 6", "Random text", "Strongest tokens in other places"]
    assert [block[0][0] for block in blocks(text)] == ["We", " July", " a", " March"]


def test_the_top_slice_is_the_top_interval_and_the_others_count_down_from_twelve() -> None:
    slices = [Stratum.SLICE_0, Stratum.SLICE_11, Stratum.SLICE_12, Stratum.TOP]
    split = ExplainSplit(tuple(make_record([name.name], [1.0], name, number=name.value) for name in slices))
    text = question(IntervalExplainer(settings(Scale.LEVELS_9)), split)
    assert re.findall(r"^(.*):$|^(.*)\t", text, re.M) == [
        ("Top interval", ""),
        ("", "SLICE_12"),
        ("", "TOP"),
        ("Interval 12", ""),
        ("", "SLICE_11"),
        ("Interval 1", ""),
        ("", "SLICE_0"),
    ]


def test_the_interval_explainer_shows_the_logits_it_was_given_and_no_others() -> None:
    explainer = IntervalExplainer(settings(Scale.LEVELS_9))
    text = question(explainer)
    assert 'Made more likely next: " first", "\\\\n"' in text
    assert 'Made less likely next: " zebra"' in text
    bare = make_statistics(top_logits=(), bottom_logits=())
    assert "next:" not in explainer.request(unit(), SPLIT, bare, ScriptedModel(), 0).messages[-1].content


@BOTH
@pytest.mark.parametrize("scale", [Scale.LEVELS_9, Scale.LEVELS_10])
def test_peer_defect_few_shot_examples_are_on_the_scale_of_the_instruction(
    explainer: type[Explainer], scale: Scale
) -> None:
    messages = request(explainer(settings(scale))).messages
    assert f"from 0 (no response) to {scale.highest} (" in messages[0].content
    for message in messages[1:-1]:
        levels = [int(level) for block in blocks(message.content) for _, level in block]
        assert max(levels, default=scale.highest) == scale.highest


@BOTH
def test_the_prompt_does_not_tell_feature_from_neuron(explainer: type[Explainer]) -> None:
    text = " ".join(message.content for message in request(explainer(settings())).messages).casefold()
    assert not re.search(r"neuron|feature|latent|autoencoder|dictionary|attention head", text)


@BOTH
async def test_peer_defect_parse_failure_is_not_an_explanation(explainer: type[Explainer]) -> None:
    """One peer scores the explanation "could not be parsed"."""
    outcome = await explain(explainer(settings()), ScriptedModel(chat=said("One.\nTwo.\nThree.")))
    assert isinstance(outcome, Unscored)
    assert outcome.reason is Reason.PARSE_FAILURE


@BOTH
@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("I'm sorry, but I can't help with that.", "stop", Reason.REFUSAL),
        ("names of mon", "length", Reason.TRUNCATED),
        ("", "stop", Reason.PARSE_FAILURE),
    ],
)
async def test_what_is_not_an_answer_is_unscored_with_its_reason(
    explainer: type[Explainer], text: str, finish: str, reason: Reason
) -> None:
    outcome = await explain(explainer(settings()), ScriptedModel(chat=said(text, finish)))
    assert isinstance(outcome, Unscored)
    assert outcome.reason is reason


@BOTH
async def test_a_failed_call_is_unscored_and_a_dead_account_stops_the_run(explainer: type[Explainer]) -> None:
    outcome = await explain(explainer(settings()), ScriptedModel(chat=BadReply("<html>")))
    assert outcome == Unscored(Reason.BAD_REPLY, "<html>")
    with pytest.raises(Quota):
        await explain(explainer(settings()), ScriptedModel(chat=Quota("insufficient_quota")))


@BOTH
async def test_a_unit_silent_in_its_explain_split_costs_no_call(explainer: type[Explainer]) -> None:
    model = ScriptedModel()
    silent = ExplainSplit((make_record(["a", "b"], [0, -1]),))
    outcome = await explain(explainer(settings()), model, silent)
    assert isinstance(outcome, Unscored)
    assert outcome.reason is Reason.NEVER_FIRES
    assert not model.asked


@BOTH
def test_a_seed_is_sent_only_to_a_sampled_reply_of_a_model_that_takes_one(explainer: type[Explainer]) -> None:
    sampled, greedy = explainer(settings(temperature=1.0)), explainer(settings(temperature=0.0))
    seeded, plain = ScriptedModel(seed=True), ScriptedModel(seed=False)
    seed = request(sampled, model=seeded).seed
    assert seed is not None
    assert 0 <= seed < 2**31
    assert request(sampled, model=seeded).seed == seed
    assert sampled.request(unit(1), SPLIT, make_statistics(), seeded, 0).seed != seed
    assert request(sampled, model=plain).seed is request(greedy, model=seeded).seed is None


@BOTH
def test_of_what_was_counted_over_all_tokens_only_the_logits_are_shown(explainer: type[Explainer]) -> None:
    """The counts include the scored contexts: the top tokens, above all, would tell the explainer what is in them."""
    made = explainer(settings())
    plain = made.request(unit(), SPLIT, make_statistics(), ScriptedModel(), 0)
    counted = make_statistics(
        fired=7,
        maximum=99.0,
        mean=3.0,
        mean_square=30.0,
        interval_edges=np.linspace(0, 99, 14),
        top_tokens=(" secret",),
    )
    assert made.request(unit(), SPLIT, counted, ScriptedModel(), 0) == plain


@BOTH
def test_hostile_tokens_stay_inert(explainer: type[Explainer]) -> None:
    """Each token is one line of its block with its own level, whatever it holds, and no message is opened or closed."""
    split = ExplainSplit((make_record(HOSTILE_TOKENS, [1.0] * len(HOSTILE_TOKENS)),))
    hostile = request(explainer(settings(Scale.LEVELS_9)), split)
    plain = request(explainer(settings(Scale.LEVELS_9)), ExplainSplit((make_record(["a"], [1.0]),)))
    assert hostile.messages[:-1] == plain.messages[:-1]
    text = hostile.messages[-1].content
    lines = [line for line in text.split("\n") if "\t" in line]
    again = 8 if explainer is TokenActivationExplainer else 0  # the strongest tokens are listed once more
    assert len(blocks(text)[0]) == len(HOSTILE_TOKENS)
    assert [line.count("\t") for line in lines] == [1] * (len(HOSTILE_TOKENS) + again)
    assert {line.split("\t")[1] for line in lines} == {"9"}
    assert text.split("\n").count("<end>") == (2 if explainer is TokenActivationExplainer else 0)
    assert "49" not in text
    assert "<|im_end|>" not in text
    assert all(character.isprintable() or character in "\n\t" for character in text)
