"""Parsers: a closed grammar each. What does not fit is a failure with its reason, and never half a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.prompting import ParseFailure, is_refusal, one_line, parse_answer, parse_sentence
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


@given(st.text())
def test_no_reply_makes_a_parser_raise(text: str) -> None:
    for reply in (said(text), said(f"<answer>{text}</answer>")):
        for value in (parse_answer(reply), parse_sentence(reply, OPENING)):
            assert isinstance(value, ParseFailure) or (value == one_line(value) and value)


@given(st.text())
def test_one_line_is_one_line_and_settles(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert one_line(line) == line
    line.encode()
