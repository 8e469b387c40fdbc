"""Levels out of a JSON reply: a text that is whole and checked counts, whatever became of its neighbours."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.prompting import ParseFailure, parse_levels
from autointerp.types import FloatArray, Reason
from tests.support.method import HOSTILE_TOKENS, said

ASKED = [["0:a", "1: b"], ["2:c"], ["3:a", "4:a"]]
TEXTS = ['{"0:a": 0, "1: b": 7}', '{"2:c": 9}', '{"3:a": 1, "4:a": 0}']


def read(*texts: str, finish: str = "stop") -> list[FloatArray | ParseFailure]:
    """What is made of a reply whose first text is the first given, and so on, with three texts asked for."""
    members = [f'"{number}": {text}' for number, text in enumerate(texts, start=1)]
    return parse_levels(said("{" + ", ".join(members) + "}", finish), ASKED, 9)


def alone(value: str) -> FloatArray | ParseFailure:
    return parse_levels(said(f'{{"1": {value}}}'), [["0:a", "1: b"]], 9)[0]


def reasons(values: list[FloatArray | ParseFailure]) -> list[Reason | None]:
    return [value.reason if isinstance(value, ParseFailure) else None for value in values]


def reason(value: FloatArray | ParseFailure) -> Reason | None:
    return reasons([value])[0]


def test_levels_come_back_in_the_order_asked_whatever_the_order_answered() -> None:
    reply = said(f'{{"3": {TEXTS[2]}, "1": {TEXTS[0]}, "2": {TEXTS[1]}}}')
    for found, expected in zip(parse_levels(reply, ASKED, 9), ([0, 7], [9], [1, 0]), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("spaces", ["{}", " \n {}\n ", "```json\n{}\n```", "```\n{}```\n"])
def test_a_fence_and_spaces_around_the_json_are_part_of_the_grammar(spaces: str) -> None:
    pretty = json.dumps({"1": {"0:a": 3}}, indent=2)
    (levels,) = parse_levels(said(spaces.replace("{}", pretty)), [["0:a"]], 9)
    np.testing.assert_array_equal(levels, [3])


@pytest.mark.parametrize(
    "broken",
    [
        '{"2:c": 11}',
        '{"2:c": 3, "2:c": 3}',
        '{"2: c": 3}',
        '{"0:a": 3}',
        '{"2:c": 3, "3:a": 1}',
        "{}",
        "[]",
        "null",
        '"9"',
        "9",
        '{"2:c": NaN}',
        '{"2:c": {"2:c": 1}}',
    ],
)
def test_of_several_texts_a_malformed_one_fails_alone(broken: str) -> None:
    first, second, third = read(TEXTS[0], broken, TEXTS[2])
    assert reason(second) is Reason.PARSE_FAILURE
    np.testing.assert_array_equal(first, [0, 7])
    np.testing.assert_array_equal(third, [1, 0])


def test_levels_of_another_text_are_never_taken() -> None:
    """Two texts of equal tokens, answered in each other's place: the numbers of their tokens tell them apart."""
    asked = [["0:a", "1:b"], ["2:a", "3:b"]]
    swapped = said('{"1": {"2:a": 9, "3:b": 0}, "2": {"0:a": 0, "1:b": 9}}')
    assert reasons(parse_levels(swapped, asked, 9)) == [Reason.PARSE_FAILURE] * 2


def test_a_text_that_is_left_out_fails_alone_and_says_so() -> None:
    first, second, third = read(TEXTS[0], TEXTS[1])
    assert reasons([first, second]) == [None, None]
    assert isinstance(third, ParseFailure)
    assert third.detail == "the reply leaves this text out"


@pytest.mark.parametrize("cut_at", range(1, len('{"1": , "2": , "3": }') + sum(map(len, TEXTS))))
def test_a_reply_cut_at_the_length_limit_keeps_what_was_complete(cut_at: int) -> None:
    """Cut after every character in turn: a text counts once its closing brace is there, and no sooner."""
    whole = f'{{"1": {TEXTS[0]}, "2": {TEXTS[1]}, "3": {TEXTS[2]}}}'
    found = parse_levels(said(whole[:cut_at], "length"), ASKED, 9)
    complete = whole[:cut_at].count("}")
    assert reasons(found) == [None] * complete + [Reason.TRUNCATED] * (3 - complete)


def test_a_reply_that_stops_being_json_keeps_what_was_complete() -> None:
    first, second, third = read(TEXTS[0], '{"2:"c": 9}', TEXTS[2])
    np.testing.assert_array_equal(first, [0, 7])
    assert reasons([second, third]) == [Reason.PARSE_FAILURE] * 2
    assert isinstance(second, ParseFailure)
    assert "not one JSON object" in second.detail


def test_a_text_answered_twice_fails_and_the_others_do_not() -> None:
    reply = said(f'{{"1": {TEXTS[0]}, "2": {TEXTS[1]}, "3": {TEXTS[2]}, "1": {{"0:a": 5, "1: b": 5}}}}')
    assert reasons(parse_levels(reply, ASKED, 9)) == [Reason.PARSE_FAILURE, None, None]


def test_what_follows_the_object_may_say_otherwise_so_nothing_counts() -> None:
    whole = f'{{"1": {TEXTS[0]}, "2": {TEXTS[1]}, "3": {TEXTS[2]}}}'
    for after in (" I hope this helps.", whole, "}", "\n```"):
        assert reasons(parse_levels(said(whole + after), ASKED, 9)) == [Reason.PARSE_FAILURE] * 3


def test_a_text_nobody_asked_about_makes_the_numbering_worthless() -> None:
    assert reasons(read(*TEXTS, '{"5:d": 0}')) == [Reason.PARSE_FAILURE] * 3
    assert reasons(parse_levels(said('{"1": {"0:a": 1}, "note": "fine"}'), [["0:a"]], 9)) == [Reason.PARSE_FAILURE]


def test_a_refusal_is_one_for_all_texts() -> None:
    for reply in (
        said("I'm sorry, but I can't help with that."),
        said("", "refusal"),
        said(TEXTS[0], "content_filter"),
    ):
        assert reasons(parse_levels(reply, ASKED, 9)) == [Reason.REFUSAL] * 3


@pytest.mark.parametrize(
    "level", ["10", "-1", "3.0", "1e0", '"7"', "true", "null", "[3]", "{}", "1e400", '"no"', "99999999999999999999"]
)
def test_peer_defect_a_level_out_of_range_or_not_an_integer_is_not_accepted(level: str) -> None:
    assert reason(alone(f'{{"0:a": 0, "1: b": {level}}}')) is Reason.PARSE_FAILURE


@pytest.mark.parametrize("level", ["NaN", "Infinity", "-Infinity"])
def test_peer_defect_nan_inside_a_json_reply_is_not_accepted(level: str) -> None:
    assert json.loads(f"[{level}]"), "Python's parser accepts it, so ours must refuse"
    assert reason(alone(f'{{"0:a": 0, "1: b": {level}}}')) is Reason.PARSE_FAILURE


@pytest.mark.parametrize("label", ["1:b", "1: B", "1: b ", " b", "b", "", "2: b", "01: b", "1", "1:"])
def test_peer_defect_the_token_text_is_compared_with_the_token_asked(label: str) -> None:
    assert reason(alone(json.dumps({"0:a": 0, label: 3}))) is Reason.PARSE_FAILURE


@pytest.mark.parametrize(
    "value",
    ["{}", '{"0:a": 1}', '{"1: b": 1}', '{"1: b": 1, "0:a": 1}', '{"0:a": 1, "1: b": 1, "2:c": 1}', "[0, 1]", '"ab"'],
)
def test_another_number_or_order_of_tokens_is_not_accepted(value: str) -> None:
    assert reason(alone(value)) is Reason.PARSE_FAILURE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "1",
        'Here you are: {"1": {"0:a": 1}}',
        '{1: {"0:a": 1}}',
        '{"1": {"0:a": 1}} {"1": {"0:a": 2}}',
        '{"1": {"0:a": 1}, "1": {"0:a": 1}}',
        "[" * 100_000,
        '{"1": {"0:a": ' + "9" * 5000 + "}}",
        '{"1": ' + "[" * 500 + "]" * 500 + "}",
        '{"1": ' + "[" * 100_000,
    ],
)
def test_what_is_not_the_one_object_asked_for_fails(text: str) -> None:
    assert reasons(parse_levels(said(text), [["0:a"]], 9)) == [Reason.PARSE_FAILURE]


@given(st.text())
def test_no_reply_makes_the_parser_raise(text: str) -> None:
    for reply in (said(text), said(f'{{"1": {text}}}'), said(f'{{"1": {{"0:a": {text}}}}}'), said(text, "length")):
        (levels,) = parse_levels(reply, [["0:a"]], 9)
        assert isinstance(levels, ParseFailure) or levels.shape == (1,)


tokens = st.one_of(st.text(), st.sampled_from(HOSTILE_TOKENS))


@given(st.lists(st.lists(st.tuples(tokens, st.integers(0, 10)), min_size=1), min_size=1, max_size=4), st.data())
def test_what_was_asked_and_repeated_exactly_comes_back(
    texts: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    """And one text spoilt, by a token of another, leaves the others as they are: whatever the tokens hold."""
    numbers = iter(range(1000))
    labelled = [[(f"{next(numbers)}:{token}", level) for token, level in text] for text in texts]
    asked = [[label for label, _ in text] for text in labelled]
    answer = {str(number): dict(text) for number, text in enumerate(labelled, start=1)}
    spoilt = data.draw(st.integers(1, len(texts)))
    for ascii_only in (True, False):
        found = parse_levels(said(json.dumps(answer, ensure_ascii=ascii_only)), asked, 10)
        for levels, text in zip(found, labelled, strict=True):
            np.testing.assert_array_equal(levels, [level for _, level in text])
        bad = {**answer, str(spoilt): {"elsewhere": 3}}
        again = parse_levels(said(json.dumps(bad, ensure_ascii=ascii_only)), asked, 10)
        assert reasons(again) == [Reason.PARSE_FAILURE if n == spoilt else None for n in range(1, len(texts) + 1)]
