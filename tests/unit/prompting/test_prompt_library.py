"""Prompt files: found by reference, hashed, and never edited once released."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from autointerp.errors import BadTemplate
from autointerp.prompting import load_template, prompts_folder, read_prompt_file, references, released

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
