"""Any text can be shown on one line and read back; no text can be taken for anything else."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from autointerp.records import read_token, show_token

# Any code point at all, surrogates included, with those that matter here drawn more often.
characters = st.one_of(
    st.characters(),
    st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Zs"]),
    st.sampled_from("\\tnru{}|<>0123456789abcdef\t\n\r \u2028\u202e\ud800\udfff"),
)
texts = st.text(characters)


@given(texts)
def test_what_is_shown_is_read_back(text: str) -> None:
    assert read_token(show_token(text)) == text


@given(texts)
def test_what_is_shown_is_one_line_of_visible_characters(text: str) -> None:
    shown = show_token(text)
    assert len(f"{shown}\t".splitlines()) == 1
    assert not [c for c in shown if c != " " and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}]
    shown.encode("utf-8")


@given(texts)
def test_no_text_holds_the_brackets_of_a_chat_template(text: str) -> None:
    assert "<|" not in show_token(text)
    assert "|>" not in show_token(text)


@given(texts, texts)
def test_two_texts_are_never_shown_alike(one: str, other: str) -> None:
    assert (show_token(one) == show_token(other)) == (one == other)


@given(st.lists(st.tuples(texts, st.integers(0, 10)), min_size=1))
def test_a_block_of_lines_is_read_by_position(pairs: list[tuple[str, int]]) -> None:
    block = "\n".join(["<start>", *(f"{show_token(token)}\t{level}" for token, level in pairs), "<end>"])
    lines = block.splitlines()
    assert (lines[0], lines[-1]) == ("<start>", "<end>")
    assert all(line.count("\t") == 1 for line in lines[1:-1])
    cells = [line.split("\t") for line in lines[1:-1]]
    assert [(read_token(token), int(level)) for token, level in cells] == pairs


@given(st.text(st.sampled_from("\\tnru{}|<>0a\t")))
def test_what_can_be_read_is_an_escape_of_what_it_means(shown: str) -> None:
    try:
        text = read_token(shown)
    except ValueError:
        return
    assert read_token(show_token(text)) == text
    assert len(text) <= len(shown)
