"""What the README says is done: its recipe for a scorer in a package of one's own, and the commands it names."""

from __future__ import annotations

import hashlib
import json
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
from autointerp.prompting import load_template
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
    (about / "entry_points.txt").write_text(
        f"[{name[1]}]\n{line.replace(chr(34), '')}\n"
        "[autointerp.explainers]\nmy_explainer = my_package.explainers:MyExplainer\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._paths.cache_clear()
    yield
    registry._paths.cache_clear()
    load_template.cache_clear()
    for module in ("my_package", "my_package.scorers", "my_package.explainers"):
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


EXPLAINER = """
from autointerp.prompting import Call, ask_chat, load_template
from autointerp.protocols import ChatRequest
from autointerp.types import Explanation, Unscored

class MyExplainer:
    name, version = "my_explainer", 1

    def __init__(self, settings):
        self.template = load_template("my_package:judge@1")

    async def explain(self, unit, records, statistics, model, seed):
        tokens = [one.context.tokens[one.focus] for one in records.records]
        request = ChatRequest(model.model, self.template.render({"tokens": tokens}), max_tokens=60)
        answer = await ask_chat(model, request)
        if isinstance(answer, Unscored):
            return answer
        key, reply = answer
        call = Call("my_explainer@1", self.template, model)
        return Explanation(unit, reply.text, "my_explainer@1", call.provenance(key, reply))
"""


@pytest.mark.usefixtures("_installed")
def test_words_of_a_package_of_ones_own_are_asked_and_recorded_as_ours_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_package" / "explainers.py").write_text(EXPLAINER)
    prompt = tmp_path / "my_package" / "prompts" / "judge.v1.toml"
    prompt.parent.mkdir()
    prompt.write_text(code("toml", 'id = "judge"'))

    class Asked(Reader):
        asked = []  # noqa: RUF012

    found = registry.find
    monkeypatch.setattr(registry, "find", lambda group, name: Asked if group == "providers" else found(group, name))
    write_store(tmp_path / "store", blocks=120)
    (tmp_path / "job.toml").write_text(JOB.replace('scorer = "my_scorer"', 'explainer = "my_explainer"'))
    folder = run_job(load_job(tmp_path / "job.toml"), tmp_path, tmp_path / "run")
    said = {request.messages[0].content.partition("?")[0] for request in Asked.asked if hasattr(request, "max_tokens")}
    assert said == {"What do these tokens have in common"}
    prompts = json.loads((folder / "manifest.json").read_text())["prompts"]
    assert prompts["my_package:judge@1"] == hashlib.sha256(prompt.read_bytes()).hexdigest()


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
