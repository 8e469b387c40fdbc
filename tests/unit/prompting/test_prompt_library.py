"""Prompt files: found by reference, hashed, and never edited once released."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autointerp.errors import BadTemplate
from autointerp.prompting import load_template, prompts_folder, read_prompt_file, references, released

JUDGE = """
id = "judge/ask"
version = 2
few_shot = "few@1"
[[messages]]
role = "user"
text = "{{ question }}"
"""
FEW = '{"units": [{"explanation": "months", "excerpts": []}]}'

REFERENCES = references(prompts_folder())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the prompts that a test may spoil."""
    folder = tmp_path / "prompts"
    shutil.copytree(Path(str(prompts_folder())), folder)
    return folder


def path_of(folder: Path, reference: str) -> Path:
    name, _, version = reference.partition("@")
    return next(folder.glob(f"{name}.v{version}.*"))


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_released_prompt_is_never_edited(reference: str) -> None:
    content = path_of(Path(str(prompts_folder())), reference).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert released(prompts_folder()).get(reference) == digest, (
        f'a new prompt is released by the line "{reference}": "{digest}" in prompts/RELEASED.json; '
        "a released one is restored, and the better wording becomes the next version"
    )


def test_no_released_prompt_has_gone() -> None:
    assert set(released(prompts_folder())) == set(REFERENCES)


def test_the_prompts_of_the_built_in_components_are_there() -> None:
    assert {"token_activation/explain@1", "interval/explain@1", "simulate/all_at_once@1", "simulate/json@1"} <= set(
        REFERENCES
    )


def test_an_edited_prompt_is_refused_when_it_is_loaded(copy: Path) -> None:
    path = path_of(copy, "simulate/json@1")
    path.write_text(path.read_text(encoding="utf-8").replace("whole number", "number"), encoding="utf-8")
    with pytest.raises(BadTemplate, match="simulate/json@1 was edited after its release"):
        load_template("simulate/json@1", copy)


def test_an_edited_few_shot_file_is_refused_with_its_template(copy: Path) -> None:
    path = path_of(copy, "simulate/few_shot@1")
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(BadTemplate, match="simulate/few_shot@1 was edited"):
        load_template("simulate/all_at_once@1", copy)


def test_the_hash_of_a_template_covers_its_few_shot_units(copy: Path) -> None:
    path = path_of(copy, "simulate/few_shot@1")
    path.write_text(path.read_text(encoding="utf-8").replace("weather", "wine"), encoding="utf-8")
    (copy / "RELEASED.json").write_text("{}", encoding="utf-8")
    assert load_template("simulate/json@1", copy).sha256 != load_template("simulate/json@1").sha256


def test_a_missing_prompt_names_the_known_ones() -> None:
    with pytest.raises(BadTemplate, match="no prompt simulate/jason@1: known are interval/explain@1"):
        read_prompt_file("simulate/jason@1")


@pytest.mark.parametrize("reference", ["../secrets@1", "simulate/json", "simulate/json@0", "/etc/passwd@1", ""])
def test_what_is_not_a_reference_is_refused(reference: str) -> None:
    with pytest.raises(BadTemplate, match="not a prompt's reference"):
        read_prompt_file(reference)


@pytest.mark.parametrize("content", ["not json", "[]", '{"a": 1}'])
def test_a_damaged_list_of_released_prompts_is_refused(copy: Path, content: str) -> None:
    (copy / "RELEASED.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadTemplate, match=r"RELEASED\.json"):
        read_prompt_file("simulate/json@1", copy)


def test_a_prompt_that_is_not_utf_8_is_refused(copy: Path) -> None:
    path_of(copy, "simulate/json@1").write_bytes(b"\xff\xfe")
    (copy / "RELEASED.json").write_text(json.dumps({}), encoding="utf-8")
    with pytest.raises(BadTemplate, match="not UTF-8"):
        load_template("simulate/json@1", copy)


# Prompts of another package.


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of prompts of an importable package."""
    folder = tmp_path / "third_party" / "prompts"
    (folder / "judge").mkdir(parents=True)
    (tmp_path / "third_party" / "__init__.py").touch()
    (folder / "judge" / "ask.v2.toml").write_text(JUDGE)
    (folder / "few.v1.json").write_text(FEW)
    monkeypatch.syspath_prepend(str(tmp_path))
    load_template.cache_clear()
    yield folder
    load_template.cache_clear()
    sys.modules.pop("third_party", None)


def test_a_packages_prompt_has_the_packages_name_and_a_hash_of_its_own_files(package: Path) -> None:
    template = load_template("third_party:judge/ask@2")
    assert template.reference == "third_party:judge/ask@2"
    both = [hashlib.sha256(text.encode()).hexdigest() for text in (JUDGE, FEW)]
    assert template.sha256 == hashlib.sha256("\n".join(both).encode()).hexdigest()
    assert template.few_shot[0].explanation == "months"
    assert [message.content for message in template.render({"question": "{{ why }}"})] == ["{{ why }}"]


def test_a_packages_list_of_released_prompts_is_heeded_where_there_is_one(package: Path) -> None:
    digest = hashlib.sha256(JUDGE.encode()).hexdigest()
    (package / "RELEASED.json").write_text(json.dumps({"judge/ask@2": digest}))
    assert load_template("third_party:judge/ask@2").reference == "third_party:judge/ask@2"
    load_template.cache_clear()
    (package / "judge" / "ask.v2.toml").write_text(JUDGE.replace("question", "answer"))
    with pytest.raises(BadTemplate, match="third_party:judge/ask@2 was edited after its release"):
        load_template("third_party:judge/ask@2")


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        (
            "third_party:judge/ask@3",
            "no prompt third_party:judge/ask@3: known are third_party:few@1, third_party:judge",
        ),
        ("no_such_package:judge@1", "package no_such_package: it cannot be imported"),
        ("json.tool:judge@1", "package json.tool: it cannot be imported"),
        ("json:judge@1", "package json: it has no folder `prompts`"),
        ("third_party:../judge@1", "not a prompt's reference"),
        ("third/party:judge@1", "not a prompt's reference"),
        (":judge@1", "not a prompt's reference"),
        ("simulate/ask@2", "no prompt simulate/ask@2"),
    ],
)
@pytest.mark.usefixtures("package")
def test_what_a_package_does_not_have(reference: str, complaint: str) -> None:
    with pytest.raises(BadTemplate, match=complaint):
        load_template(reference)


def test_an_id_inside_that_differs_from_the_file_name_is_refused_in_a_package_too(package: Path) -> None:
    (package / "judge" / "ask.v2.toml").write_text(JUDGE.replace("judge/ask", "third_party:judge/ask"))
    with pytest.raises(BadTemplate, match="differ from its file name"):
        load_template("third_party:judge/ask@2")
