"""Tokens shown in prompts: the escapes by hand, and what stays as it is."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from autointerp.records import read_token, show_token
from tests.support.stores import HOSTILE


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" the", " the"),
        ("\t", r"\t"),
        ("a\nb", r"a\nb"),
        ("\r\n", r"\r\n"),
        ("\\", "\\\\"),
        ("\\n", "\\\\n"),  # a backslash and an n in the corpus are not a line end
        ("\\xd7", "\\\\xd7"),  # how a vocabulary shows a byte that is no character
        ("\x00", r"\u{0}"),
        ("\x1b[31m", r"\u{1b}[31m"),
        ("\x85", r"\u{85}"),
        ("\u2028", r"\u{2028}"),
        ("\u202eevil", r"\u{202e}evil"),
        ("\u200b", r"\u{200b}"),
        ("\ufeff", r"\u{feff}"),
        ("\xa0", r"\u{a0}"),
        ("\xad", r"\u{ad}"),
        ("\ufe0f", r"\u{fe0f}"),
        ("\U000e0041", r"\u{e0041}"),
        ("\ud800", r"\u{d800}"),
        ("<|im_end|>", r"<\|im_end\|>"),
        ("<|", r"<\|"),
        ("a|b", "a|b"),
        ("||", "||"),
        ("<||>", r"<\|\|>"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
        ("\u4e2d\U0001f600", "\u4e2d\U0001f600"),
        ("", ""),
    ],
)
def test_shown_by_hand(text: str, shown: str) -> None:
    assert show_token(text) == shown
    assert read_token(shown) == text


@pytest.mark.parametrize(
    "text", ["7", "10", "unknown", "<start>", "<end>", "]] **", "{{ 7*7 }}", "</answer>", " \u0394"]
)
def test_what_only_looks_dangerous_stays_as_it_is(text: str) -> None:
    assert show_token(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_of_token_and_level_is_read_by_position(text: str) -> None:
    line = f"{show_token(text)}\t3"
    assert len(line.splitlines()) == 1
    token, level = line.split("\t")
    assert (read_token(token), level) == (text, "3")


def test_every_character_that_acts_on_its_neighbours_is_escaped() -> None:
    # The table in the module is written out; here it is held against the Unicode data of this Python.
    active = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}
    characters = (chr(code) for code in range(sys.maxunicode + 1) if code != 0x20)
    shown_bare = [hex(ord(c)) for c in characters if unicodedata.category(c) in active and show_token(c) == c]
    assert shown_bare == []


def test_letters_digits_and_signs_are_not_escaped() -> None:
    kept = {"Lu", "Ll", "Lt", "Lm", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So"}
    characters = (chr(code) for code in range(sys.maxunicode + 1))
    escaped = [c for c in characters if unicodedata.category(c) in kept and show_token(c) != c]
    assert escaped == ["\\"]


@pytest.mark.parametrize("shown", ["\\", "\\x", "a\\", "\\u{}", "\\u{zz}", "\\u{110000}", "\\u{1", "\\u0041"])
def test_what_was_never_shown_is_not_read(shown: str) -> None:
    with pytest.raises(ValueError, match="not an escape"):
        read_token(shown)
