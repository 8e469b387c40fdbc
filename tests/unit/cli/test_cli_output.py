"""Whatever a text holds, what a command prints of it is a whole document or plain lines, and no terminal obeys it."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autointerp.cli.output as autointerp_output
import sae.cli.output as sae_output

ROOT = Path(__file__).parents[3]
# ECMA-48: C0 controls but the line end, DEL, C1 controls. Unicode, UAX 9: the marks that change a text's direction.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
HOSTILE = "a\x1b[2J\x9b31mb\x7f\u202e\u2028\x85\ttab \ud83e lone \udfff 🦉 é \\ud800 \\n <b>[red]"
BOTH = pytest.mark.parametrize("output", [autointerp_output, sae_output], ids=["autointerp", "sae"])
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # halves of surrogate pairs too


def printed(print_: Callable[[Any], None], value: object) -> str:
    kept, sys.stdout = sys.stdout, io.StringIO()
    try:
        print_(value)
        return sys.stdout.getvalue()
    finally:
        sys.stdout = kept


@BOTH
@given(text=TEXT)
def test_a_document_is_read_back_and_acts_on_no_terminal(output: Any, text: str) -> None:
    out = printed(output.print_json, {"k": [text, 0.1], text: None})
    assert not CONTROL.search(out)
    assert out.isascii()
    assert not re.search(r"\\ud[89ab]..(?!\\ud[c-f])", out.replace("\\\\", ""))  # a pair or nothing: RFC 8259, 8.2
    found = json.loads(out)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert found["k"] == [whole, 0.1]
    json.dumps(found, ensure_ascii=False).encode("utf-8")  # every string of it is text


@BOTH
def test_what_is_text_stays_as_it_was_and_half_a_pair_becomes_a_mark(output: Any) -> None:
    (found,) = json.loads(printed(output.print_json, [HOSTILE]))
    assert found == HOSTILE.replace("\ud83e", "\ufffd").replace("\udfff", "\ufffd")


@BOTH
@given(text=TEXT)
def test_lines_for_a_person_are_lines_and_nothing_else(output: Any, text: str) -> None:
    out = printed(output.print_text, text)
    assert not CONTROL.search(out)
    assert out.count("\n") == text.removesuffix("\n").count("\n") + 1
    out.encode("utf-8")


@BOTH
def test_letters_that_a_terminal_does_not_know_are_escaped(output: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1", newline=""))
    output.print_text("é – 🦉")
    sys.stdout.flush()
    assert raw.getvalue() == "é \\u2013 \\U0001f989\n".encode("latin-1")


@BOTH
def test_a_complaint_is_one_line(output: Any, capsys: pytest.CaptureFixture[str]) -> None:
    output.complain("sae: a\nb\x1b[2J: no such file")
    assert capsys.readouterr().err == "sae: a\\nb\\x1b[2J: no such file\n"


@pytest.mark.parametrize("path", sorted((*ROOT.glob("autointerp/cli/*.py"), *ROOT.glob("sae/cli/*.py"))), ids=str)
def test_no_command_prints_past_it(path: Path) -> None:
    """All results and complaints go through `output`; progress bars and their lines hold numbers and our own words."""
    if path.name != "output.py":
        written = path.read_text(encoding="utf-8")
        assert not re.search(
            r"sys\.std(out|err)\.write|json\.dumps\(.*ensure_ascii=False|typer\.echo\((?!f\"step )", written
        )
