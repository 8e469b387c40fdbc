"""What the README says is done: its recipe for a scorer in a package of one's own, and the commands it names."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from support.stores import write_store
from test_job import Reader

from autointerp import registry
from autointerp.cli import app as autointerp_app
from autointerp.jobs import load_job, run_job
from autointerp.results import read_scores, summarise
from sae.cli.main import app as sae_app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

JOB = """
name = "readme"
[store]
path = "store"
[units]
features = [0, 1, 2]
neurons = [0]
[model]
provider = "scripted"
name = "reader"
[statistics]
resamples = 100
[[presets]]
name = "openai"
scorer = "my_scorer"
"""


def code(language: str, contains: str) -> str:
    """The one block of code in the README that contains a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (found,) = [block for block in blocks if contains in block]
    return found


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The README's scorer as an installed package, as pip would leave it."""
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "scorers.py").write_text(code("python", "class MyScorer"))
    group, line = code("toml", "my_package.scorers:MyScorer").strip().splitlines()
    name = re.fullmatch(r'\[project\.entry-points\."(.+)"\]', group)
    assert name is not None
    about = tmp_path / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{name[1]}]\n{line.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._paths.cache_clear()
    yield
    registry._paths.cache_clear()
    for module in ("my_package", "my_package.scorers"):
        sys.modules.pop(module, None)


@pytest.mark.usefixtures("_installed")
def test_the_recipe_for_a_scorer_works_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry.find
    monkeypatch.setattr(registry, "find", lambda group, name: Reader if group == "providers" else found(group, name))
    write_store(tmp_path / "store", blocks=120)
    (tmp_path / "job.toml").write_text(JOB)
    folder = run_job(load_job(tmp_path / "job.toml"), tmp_path, tmp_path / "run")
    frame = read_scores(folder)
    rows = frame[(frame.scorer == "openai.my_scorer") & (frame.role == "explanation")]
    assert set(rows.metric) == {"share_named"}
    assert dict(zip(rows["index"].where(rows.kind == "feature", -1), rows.status, strict=True))[2] == "unscored"
    assert (rows.status == "scored").any()
    numbers = summarise(folder)["summary"]["feature"]["openai.my_scorer"]
    assert (numbers["metric"], numbers["n_attempted"], numbers["unscored"]) == ("share_named", 3, {"never_fires": 1})


def commands() -> list[str]:
    """Every command of the README's blocks that is one of ours, without its comment."""
    lines = [line.partition("#")[0].strip() for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
             for line in block.splitlines()]  # fmt: skip
    return [line for line in lines if line.startswith(("sae ", "autointerp "))]


def test_the_readme_names_commands() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_can_be_parsed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are those of the command it names: no option that does not exist, none missing."""
    program, *words = shlex.split(command)
    parsed: Any = typer.main.get_command(sae_app if program == "sae" else autointerp_app)
    monkeypatch.chdir(ROOT)
    while hasattr(parsed, "commands"):
        parsed = parsed.commands[words.pop(0)]
    context = parsed.make_context(program, words)
    assert not context.args


@pytest.mark.parametrize("path", [match for match in re.findall(r"\]\(([\w/.-]+)\)", README)])  # noqa: C416
def test_what_the_readme_links_to_is_there(path: str) -> None:
    assert os.path.exists(ROOT / path)


def _named(app: typer.Typer, name: str) -> Iterator[tuple[str, Any]]:
    def walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for word, one in command.commands.items():
                yield from walk(one, f"{words} {word}")
        else:
            yield words, command

    yield from walk(typer.main.get_command(app), name)


@pytest.mark.parametrize(
    ("name", "command"),
    [*_named(sae_app, "sae"), *_named(autointerp_app, "autointerp")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_command_has_help_with_an_example_and_json(name: str, command: Any) -> None:
    assert f"Example: {name} " in f"{command.help}{command.epilog}"
    assert any("--json" in parameter.opts for parameter in command.params)
