"""Templates: values are inserted and never interpreted, a missing variable is an error, a malformed file too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import BadTemplate
from autointerp.prompting import Excerpt, Line, excerpt, is_sparse, load_template, strongest
from autointerp.prompting.template import MessageTemplate, Template
from autointerp.protocols import Message
from tests.support.method import HOSTILE_TOKENS

GOOD = """
id = "a/b"
version = 1
[[messages]]
role = "user"
text = "Say {{ word }}."
"""


def template(*messages: MessageTemplate) -> Template:
    return Template("a/b@1", "0" * 64, messages, ())


def written(folder: Path, content: str, name: str = "a/b.v1.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    (folder / "RELEASED.json").write_text("{}", encoding="utf-8")
    return folder


def test_messages_keep_their_roles_and_are_filled_in(tmp_path: Path) -> None:
    rendered = load_template("a/b@1", written(tmp_path, GOOD)).render({"word": "yes"})
    assert rendered == (Message("user", "Say yes."),)


def test_a_missing_variable_is_an_error() -> None:
    with pytest.raises(BadTemplate, match="a/b@1: 'word' is undefined"):
        template(MessageTemplate("user", "{{ word }}", None)).render({})


def test_a_missing_attribute_is_an_error() -> None:
    with pytest.raises(BadTemplate, match="has no attribute 'text'"):
        template(MessageTemplate("user", "{{ word.text }}", None)).render({"word": "a"})


def test_a_missing_list_of_examples_is_an_error() -> None:
    with pytest.raises(BadTemplate, match="'examples' is undefined"):
        template(MessageTemplate("user", "x", "examples")).render({})


def test_messages_of_examples_repeat_together() -> None:
    asks, answers = (
        MessageTemplate("user", "{{ example }}?", "pairs"),
        MessageTemplate("assistant", "{{ x }}!", "pairs"),
    )
    rendered = template(asks, answers).render({"pairs": ["a", "b"], "x": 1})
    assert [message.content for message in rendered] == ["a?", "1!", "b?", "1!"]


@pytest.mark.parametrize("token", [token for token in HOSTILE_TOKENS if token != "\ud800"])
def test_template_syntax_and_markup_in_a_value_stay_as_they_are(token: str) -> None:
    assert template(MessageTemplate("user", "[{{ word }}]", None)).render({"word": token})[0].content == f"[{token}]"


@given(st.text())
def test_any_text_is_inserted_unchanged(text: str) -> None:
    rendered = template(MessageTemplate("user", "{% for w in words %}{{ w }}\t0\n{% endfor %}", None))
    assert rendered.render({"words": [text]})[0].content == f"{text}\t0\n"


@pytest.mark.parametrize(
    "source",
    [
        "{{ word.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ word.format.__globals__ }}",
        "{{ text.lines[0].__class__ }}",
        "{{ text.__init__.__globals__ }}",
        "{{ text.lines[0].token.__class__ }}",
    ],
)
def test_a_template_cannot_reach_into_python(source: str) -> None:
    with pytest.raises(BadTemplate, match="a/b@1"):
        template(MessageTemplate("user", source, None)).render({"word": "a", "text": excerpt(["a"], [1])})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GOOD.replace('"a/b"', '"a/c"'), "differ from its file name"),
        (GOOD.replace("version = 1", "version = 2"), "differ from its file name"),
        (GOOD + "\n[other]\nx = 1", "unknown key 'other'"),
        (GOOD.replace('"user"', '"robot"'), "a message needs a role"),
        (GOOD.replace('text = "Say {{ word }}."', ""), "a message needs a role"),
        (GOOD.replace("text =", "extra = 1\ntext ="), "keys role, text and each"),
        (GOOD.replace("{{ word }}", "{{ word"), "a/b@1"),
        ("id = ", "not valid TOML"),
        ('id = "a/b"\nversion = 1\n', "no messages"),
    ],
)
def test_a_malformed_template_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    with pytest.raises(BadTemplate, match=complaint):
        load_template("a/b@1", written(tmp_path, content))


@pytest.mark.parametrize(
    "units",
    [
        "[]]",
        '{"units": [{"explanation": "x"}]}',
        '{"units": [{"explanation": "x", "excerpts": [{"tokens": []}]}]}',
        '{"units": [{"explanation": "x", "excerpts": [{"tokens": [["a", 0]]}]}]}',
        '{"units": [{"explanation": "x", "excerpts": [{"tokens": [["a", -1]]}]}]}',
        '{"units": [{"explanation": "x", "excerpts": [{"tokens": [["a", NaN]]}]}]}',
        '{"units": [{"explanation": "x", "excerpts": [{"tokens": [["a", 1]], "hidden": 2}]}]}',
    ],
)
def test_malformed_few_shot_units_are_refused(tmp_path: Path, units: str) -> None:
    written(tmp_path, units, "a/few_shot.v1.json")
    written(tmp_path, GOOD.replace("version = 1", 'version = 1\nfew_shot = "a/few_shot@1"'))
    with pytest.raises(BadTemplate, match="few-shot file a/few_shot@1"):
        load_template("a/b@1", tmp_path)


def test_asking_for_more_few_shot_units_than_there_are_is_an_error() -> None:
    few = load_template("simulate/json@1")
    assert len(few.examples(2)) == 2
    with pytest.raises(BadTemplate, match=r"has \d+ few-shot units, not 99"):
        few.examples(99)


def test_an_excerpt_refuses_a_token_that_was_not_made_inert() -> None:
    with pytest.raises(ValueError, match="a tab or a line end"):
        excerpt(["a\tb"], [0])
    with pytest.raises(ValueError, match="argument 2"):
        excerpt(["a", "b"], [0])


@pytest.mark.parametrize(
    ("levels", "sparse"),
    [([1, 0, 0, 0, 0], False), ([1, 0, 0, 0, 0, 0], True), ([0, 0], True), ([3, 0], False)],
)
def test_under_a_fifth_of_non_zero_levels_is_sparse(levels: list[int], sparse: bool) -> None:
    shown: list[Excerpt] = [excerpt(["t"], [level]) for level in levels]
    assert is_sparse(shown) is sparse


def test_the_strongest_tokens_are_listed_by_level_and_then_as_shown() -> None:
    shown = [excerpt(["a", "b", "c"], [3, 0, 9]), excerpt(["d", "e"], [9, 3])]
    assert strongest(shown, 3) == (Line("c", 9), Line("d", 9), Line("a", 3))
    assert strongest(shown, 9) == (Line("c", 9), Line("d", 9), Line("a", 3), Line("e", 3))
    assert strongest([excerpt(["a"], [0])], 3) == ()
