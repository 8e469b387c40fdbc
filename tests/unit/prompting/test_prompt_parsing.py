"""Parsers: a closed grammar each. What does not fit is a failure with its reason, and never half a value."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.prompting import ParseFailure, is_refusal, one_line, parse_answer, parse_levels, parse_sentence
from autointerp.types import Reason
from tests.support.method import said

OPENING = "The main thing this unit does is find"
REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, I can’t assist.",
    "I cannot determine what this unit does.",
    "I can not answer this.",
    "As an AI language model, I do not have access to neurons.",
    "As a large language model I cannot see.",
    "Unfortunately, I am unable to comply.",
    "I am unable to help.",
    "I apologize, but this is not possible.",
    "Sorry, but I won't do that.",
    "  I won't continue.",
]
NOT_REFUSALS = [
    "words of apology such as sorry",
    "the word cannot",
    '"I cannot" and other first-person negations',
    "assistants that speak as an AI",
    "apologies in letters",
    "unfortunately and other adverbs of regret",
]


def reason(value: object) -> Reason | None:
    return value.reason if isinstance(value, ParseFailure) else None


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_recognised_at_the_beginning(text: str) -> None:
    assert is_refusal(text)
    assert reason(parse_sentence(said(text), OPENING)) is Reason.REFUSAL
    assert reason(parse_answer(said(text))) is Reason.REFUSAL
    assert reason(parse_answer(said(f"Hm.\n<answer>{text}</answer>"))) is Reason.REFUSAL
    assert reason(parse_levels(said(text), [["a"]], 9)[0]) is Reason.REFUSAL


@pytest.mark.parametrize("text", NOT_REFUSALS)
def test_explanations_about_refusing_are_explanations(text: str) -> None:
    assert parse_sentence(said(text), OPENING) == text
    assert parse_answer(said(f"<answer>{text}</answer>")) == text


@pytest.mark.parametrize("finish", ["refusal", "content_filter"])
def test_the_servers_own_word_for_a_refusal_counts(finish: str) -> None:
    assert reason(parse_sentence(said("dates", finish), OPENING)) is Reason.REFUSAL


def test_a_reply_cut_at_the_length_limit_is_no_value_even_where_it_parses() -> None:
    assert reason(parse_sentence(said("dates in", "length"), OPENING)) is Reason.TRUNCATED
    assert reason(parse_answer(said("<answer>dates</answer>", "length"))) is Reason.TRUNCATED
    assert reason(parse_levels(said('{"1": [["a", 0]]}', "length"), [["a"]], 9)[0]) is Reason.TRUNCATED


def test_the_answer_is_what_stands_between_the_tags() -> None:
    assert parse_answer(said("They all name months.\n<answer> names of\nmonths </answer>\n")) == "names of months"


@pytest.mark.parametrize(
    "text",
    [
        "The tokens share that they name months. So: names of months.",  # TM used such replies whole
        "<answer>names of months",
        "names of months</answer>",
        "<answer></answer>",
        "<answer> ... </answer>",
        "<answer>a</answer> or <answer>b</answer>",
        "<answer>a</answer> I hope this helps.",
        "<answer><answer>a</answer></answer>",
        "</answer>a<answer>",
        "",
    ],
)
def test_peer_defect_a_reply_without_answer_tags_is_never_used_whole(text: str) -> None:
    assert reason(parse_answer(said(text))) is Reason.PARSE_FAILURE


def test_a_sentence_may_repeat_the_words_it_was_to_complete() -> None:
    assert parse_sentence(said("names of months."), OPENING) == "names of months."
    assert parse_sentence(said(f"\n{OPENING} names of months\n"), OPENING) == "names of months"
    assert parse_sentence(said("the main thing this unit does is find: months"), OPENING) == "months"


@pytest.mark.parametrize("text", ["", "  \n", "...", "Let us see.\nIt is months.", OPENING, "<start>\na\t1\n<end>"])
def test_a_reply_of_another_form_is_not_a_sentence(text: str) -> None:
    assert reason(parse_sentence(said(text), OPENING)) is Reason.PARSE_FAILURE


def test_levels_come_back_in_order() -> None:
    reply = said('{"2": [["c", 9]], "1": [["a", 0], [" b", 7]]}')
    first, second = parse_levels(reply, [["a", " b"], ["c"]], 9)
    np.testing.assert_array_equal(first, [0, 7])
    np.testing.assert_array_equal(second, [9])


def test_a_fence_around_the_json_is_part_of_the_grammar() -> None:
    (levels,) = parse_levels(said('```json\n{"1": [["a", 3]]}\n```'), [["a"]], 9)
    np.testing.assert_array_equal(levels, [3])


@pytest.mark.parametrize(
    "level", ["10", "-1", "3.0", "1e0", '"7"', "true", "null", "[3]", "{}", "1e400", '"no"', "99999999999999999999"]
)
def test_peer_defect_a_level_out_of_range_or_not_an_integer_is_not_accepted(level: str) -> None:
    assert reason(parse_levels(said(f'{{"1": [["a", {level}]]}}'), [["a"]], 9)[0]) is Reason.PARSE_FAILURE


@pytest.mark.parametrize("level", ["NaN", "Infinity", "-Infinity"])
def test_peer_defect_nan_inside_a_json_reply_is_not_accepted(level: str) -> None:
    assert json.loads(f"[{level}]"), "Python's parser accepts it, so ours must refuse"
    failure = parse_levels(said(f'{{"1": [["a", 0], ["b", {level}]]}}'), [["a", "b"]], 9)[0]
    assert reason(failure) is Reason.PARSE_FAILURE


@pytest.mark.parametrize("token", ["the", " The", " the ", "", "\\n", None, 3, ["a"]])
def test_peer_defect_the_token_text_is_compared_with_the_token_asked(token: object) -> None:
    reply = said(json.dumps({"1": [[token, 3]]}))
    assert reason(parse_levels(reply, [[" the"]], 9)[0]) is Reason.PARSE_FAILURE


@pytest.mark.parametrize(
    "pairs", [[], [["a", 1]], [["a", 1], ["b", 1], ["c", 1]], [["a", 1], ["b"]], "ab", None, {"a": 1}]
)
def test_the_wrong_number_of_tokens_is_not_accepted(pairs: object) -> None:
    assert reason(parse_levels(said(json.dumps({"1": pairs})), [["a", "b"]], 9)[0]) is Reason.PARSE_FAILURE


def test_one_malformed_sequence_fails_alone() -> None:
    good, bad, missing = parse_levels(said('{"1": [["a", 1]], "2": [["a", 11]]}'), [["a"], ["a"], ["a"]], 10)
    np.testing.assert_array_equal(good, [1])
    assert reason(bad) is reason(missing) is Reason.PARSE_FAILURE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        '{"1": [["a", 1]]',
        '{"1": [["a", 1]]} {"1": [["a", 2]]}',
        'Here you are: {"1": [["a", 1]]}',
        '{"1": [["a", 1]], "1": [["a", 2]]}',
        '{"1": [["a", 1]], "2": [["a", 1]]}',
        '{"1": [["a", 1]], "note": "fine"}',
        "[" * 100_000,
        '{"1": [["a", ' + "9" * 5000 + "]]}",
        '{"1": ' + "[" * 500 + "]" * 500 + "}",
    ],
)
def test_what_is_not_the_one_object_asked_for_fails(text: str) -> None:
    assert reason(parse_levels(said(text), [["a"]], 9)[0]) is Reason.PARSE_FAILURE


@given(st.text())
def test_no_reply_makes_a_parser_raise(text: str) -> None:
    for reply in (said(text), said(f"<answer>{text}</answer>"), said(f'{{"1": {text}}}')):
        for value in (parse_answer(reply), parse_sentence(reply, OPENING)):
            assert isinstance(value, ParseFailure) or (value == one_line(value) and value)
        (levels,) = parse_levels(reply, [["a"]], 9)
        assert isinstance(levels, ParseFailure) or levels.shape == (1,)


@given(st.lists(st.tuples(st.text(), st.integers(0, 10)), min_size=1))
def test_what_was_asked_and_repeated_exactly_comes_back(pairs: list[tuple[str, int]]) -> None:
    for ascii_only in (True, False):
        reply = said(json.dumps({"1": pairs}, ensure_ascii=ascii_only))
        (levels,) = parse_levels(reply, [[token for token, _ in pairs]], 10)
        np.testing.assert_array_equal(levels, [level for _, level in pairs])


@given(st.text())
def test_one_line_is_one_line_and_settles(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert one_line(line) == line
    line.encode()
