"""Levels out of a JSON reply: a text that is whole and checked counts, whatever became of its neighbours."""

from __future__ import annotations

import json
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.prompting import ParseFailure, parse_levels
from autointerp.types import FloatArray, Reason
from tests.support.method import HOSTILE_TOKENS, said

ASKED = [["0:a", "1: b"], ["2:c"], ["3:a", "4:a"]]
TEXTS = ['"0:a": 0, "1: b": 7', '"2:c": 9', '"3:a": 1, "4:a": 0']


def read(*texts: str, finish: str = "stop") -> list[FloatArray | ParseFailure]:
    """What is made of a reply that holds these entries, with three texts asked for."""
    return parse_levels(said("{" + ", ".join(texts) + "}", finish), ASKED, 9)


def alone(entries: str) -> FloatArray | ParseFailure:
    return parse_levels(said(f"{{{entries}}}"), [["0:a", "1: b"]], 9)[0]


def reasons(values: list[FloatArray | ParseFailure]) -> list[Reason | None]:
    return [value.reason if isinstance(value, ParseFailure) else None for value in values]


def reason(value: FloatArray | ParseFailure) -> Reason | None:
    return reasons([value])[0]


def test_levels_come_back_in_the_order_asked_whatever_the_order_answered() -> None:
    for found, expected in zip(read(TEXTS[2], *TEXTS[:2]), ([0, 7], [9], [1, 0]), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("spaces", ["{}", " \n {}\n ", "```json\n{}\n```", "```\n{}```\n"])
def test_a_fence_and_spaces_around_the_json_are_part_of_the_grammar(spaces: str) -> None:
    pretty = json.dumps({"0:a": 3, "1: b": 0}, indent=2)
    (levels,) = parse_levels(said(spaces.replace("{}", pretty)), [["0:a", "1: b"]], 9)
    np.testing.assert_array_equal(levels, [3, 0])


@pytest.mark.parametrize(
    "broken",
    [
        '"2:c": 11',
        '"2:c": -1',
        '"2:c": 3, "2:c": 3',
        '"2:C": 3',
        '"2:c": 3, "2:d": 3',
        '"2:c": 3, "2: c": 3',
        '"2:c": NaN',
        '"2:c": null',
        '"2:c": "3"',
        '"2:c": {"2:c": 1}',
        '"2:c": [3]',
    ],
)
def test_of_several_texts_a_malformed_one_fails_alone(broken: str) -> None:
    first, second, third = read(TEXTS[0], broken, TEXTS[2])
    assert reason(second) is Reason.PARSE_FAILURE
    np.testing.assert_array_equal(first, [0, 7])
    np.testing.assert_array_equal(third, [1, 0])


@pytest.mark.parametrize("label", ["1:b", "1: b", "1:  b "])
def test_the_space_after_the_colon_may_be_lost_since_the_number_says_which_token_is_meant(label: str) -> None:
    np.testing.assert_array_equal(alone(f'"0:a": 0, {json.dumps(label)}: 7'), [0, 7])


def test_levels_of_another_text_are_never_taken() -> None:
    """Two texts of equal tokens, of which only one is answered: the numbers of their tokens tell them apart."""
    asked = [["0:a", "1:b"], ["2:a", "3:b"]]
    first, second = parse_levels(said('{"2:a": 9, "3:b": 0}'), asked, 9)
    assert reason(first) is Reason.PARSE_FAILURE
    np.testing.assert_array_equal(second, [9, 0])
    for shifted in ('{"0:a": 0, "1:b": 9, "1:a": 9, "3:b": 0}', '{"0:a": 0, "1:a": 9, "2:a": 9, "3:b": 0}'):
        assert Reason.PARSE_FAILURE in reasons(parse_levels(said(shifted), asked, 9))


def test_a_text_of_which_a_token_is_left_out_fails_alone_and_says_so() -> None:
    for left_out in ([TEXTS[0], TEXTS[1]], [*TEXTS[:2], '"3:a": 1'], [*TEXTS[:2], '"4:a": 1']):
        first, second, third = read(*left_out)
        assert reasons([first, second]) == [None, None]
        assert isinstance(third, ParseFailure)
        assert third.detail == "the reply leaves out tokens of this text"


WHOLE = "{" + ", ".join(TEXTS) + "}"


@pytest.mark.parametrize("cut_at", range(1, len(WHOLE) + 1))
def test_a_reply_cut_at_the_length_limit_keeps_what_was_complete(cut_at: int) -> None:
    """Cut after every character in turn: a text counts once the end of its last level is there, and no sooner."""
    found = parse_levels(said(WHOLE[:cut_at], "length"), ASKED, 9)
    ends = [WHOLE.index(text) + len(text) for text in TEXTS]
    complete = sum(cut_at > end for end in ends)
    assert reasons(found) == [None] * complete + [Reason.TRUNCATED] * (3 - complete)


def test_a_level_that_the_limit_cut_is_not_half_a_level() -> None:
    assert reasons(parse_levels(said('{"0:a": 1', "length"), [["0:a"]], 10)) == [Reason.TRUNCATED]


def test_a_reply_that_stops_being_json_keeps_what_was_complete() -> None:
    first, second, third = read(TEXTS[0], '"2:"c": 9', TEXTS[2])
    np.testing.assert_array_equal(first, [0, 7])
    assert reasons([second, third]) == [Reason.PARSE_FAILURE] * 2
    assert isinstance(second, ParseFailure)
    assert "not one JSON object" in second.detail


def test_what_follows_the_object_may_say_otherwise_so_nothing_counts() -> None:
    for after in (" I hope this helps.", WHOLE, "}", "\n```"):
        assert reasons(parse_levels(said(WHOLE + after), ASKED, 9)) == [Reason.PARSE_FAILURE] * 3


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_model_that_numbers_on_past_the_last_token_has_answered_what_was_asked(finish: str) -> None:
    assert reasons(read(*TEXTS, '"5:d": 0', '"6:d": 44', finish=finish)) == [None] * 3
    assert reasons(read(*TEXTS[:2], '"5:d": 0', finish=finish))[:2] == [None] * 2
    assert reason(read(*TEXTS[:2], '"5:d": 0')[2]) is Reason.PARSE_FAILURE


@pytest.mark.parametrize("entry", ['"note": "fine"', '"1": {}', '"-1:a": 0', '"02:c": 0', '"\u0662:c": 0'])
def test_an_entry_without_a_number_makes_the_reply_worthless(entry: str) -> None:
    assert reasons(read(*TEXTS, entry)) == [Reason.PARSE_FAILURE] * 3


def test_a_refusal_is_one_for_all_texts() -> None:
    for reply in (said("I'm sorry, but I can't help with that."), said("", "refusal"), said(WHOLE, "content_filter")):
        assert reasons(parse_levels(reply, ASKED, 9)) == [Reason.REFUSAL] * 3


@pytest.mark.parametrize(
    "level", ["10", "-1", "3.0", "1e0", '"7"', "true", "null", "[3]", "{}", "1e400", '"no"', "99999999999999999999"]
)
def test_peer_defect_a_level_out_of_range_or_not_an_integer_is_not_accepted(level: str) -> None:
    assert reason(alone(f'"0:a": 0, "1: b": {level}')) is Reason.PARSE_FAILURE


@pytest.mark.parametrize("level", ["NaN", "Infinity", "-Infinity"])
def test_peer_defect_nan_inside_a_json_reply_is_not_accepted(level: str) -> None:
    assert json.loads(f"[{level}]"), "Python's parser accepts it, so ours must refuse"
    assert reason(alone(f'"0:a": 0, "1: b": {level}')) is Reason.PARSE_FAILURE


@pytest.mark.parametrize("label", ["1: B", "1: b b", "1:\\tb", "1:\\u00a0b", " b", "b", "", "01: b", "1", "1:"])
def test_peer_defect_the_token_text_is_compared_with_the_token_asked(label: str) -> None:
    assert reason(alone(f'"0:a": 0, {json.dumps(label)}: 3')) is Reason.PARSE_FAILURE
    assert reason(alone(f'"0:a": 0, "1: b": 3, {json.dumps(label)}: 3')) is Reason.PARSE_FAILURE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "1",
        'Here you are: {"0:a": 1}',
        '{0: 1}',
        '{"0:a": 1} {"0:a": 2}',
        '{"0:a": 1, "0:a": 1}',
        "[" * 100_000,
        '{"0:a": ' + "9" * 5000 + "}",
        '{"0:a": ' + "[" * 500 + "]" * 500 + "}",
        '{"0:a": ' + "[" * 100_000,
        '{"' + "9" * 5000 + ':a": 1}',
    ],
)  # fmt: skip
def test_what_is_not_the_one_object_asked_for_fails(text: str) -> None:
    assert reasons(parse_levels(said(text), [["0:a"]], 9)) == [Reason.PARSE_FAILURE]


@given(st.text())
def test_no_reply_makes_the_parser_raise(text: str) -> None:
    for reply in (said(text), said(f'{{"0:a": {text}}}'), said(f'{{"0:{text}": 1}}'), said(text, "length")):
        (levels,) = parse_levels(reply, [["0:a"]], 9)
        assert isinstance(levels, ParseFailure) or levels.shape == (1,)


tokens = st.one_of(st.text(), st.sampled_from(HOSTILE_TOKENS))


@given(st.lists(st.lists(st.tuples(tokens, st.integers(0, 10)), min_size=1), min_size=1, max_size=4), st.data())
def test_what_was_asked_and_repeated_exactly_comes_back(
    texts: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    """And one level spoilt fails its text, and leaves the others as they are: whatever the tokens hold."""
    number = count()
    labelled = [[(f"{next(number)}:{token}", level) for token, level in text] for text in texts]
    asked = [[label for label, _ in text] for text in labelled]
    answer = {label: level for text in labelled for label, level in text}
    spoilt = data.draw(st.sampled_from(sorted(answer)))
    for ascii_only in (True, False):
        found = parse_levels(said(json.dumps(answer, ensure_ascii=ascii_only)), asked, 10)
        for levels, text in zip(found, labelled, strict=True):
            np.testing.assert_array_equal(levels, [level for _, level in text])
        again = parse_levels(said(json.dumps({**answer, spoilt: 11}, ensure_ascii=ascii_only)), asked, 10)
        assert reasons(again) == [Reason.PARSE_FAILURE if spoilt in labels else None for labels in asked]
