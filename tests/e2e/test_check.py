"""`autointerp check`, and `make demo LLM=...`, which begins with it: what is missing is said before a harvest."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from support.stores import write_store

from autointerp import cli

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "results" / "demo.toml"
MODEL = '[{}]\nprovider = "{}"\nname = "{}"\n'
# Its store is not there, as before a harvest.
JOB = """
name = "early"
[store]
path = "nowhere"
[units]
features = 3
[[presets]]
name = "openai"
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `autointerp ...` without any key and gives (exit code, standard output, standard error)."""
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autointerp", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return command


@pytest.fixture
def listening() -> Iterator[str]:
    """The address of a server that takes connections; it answers nothing, as nothing is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.fixture
def away() -> Iterator[str]:
    """The address of no server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def written(folder: Path, *models: str) -> Path:
    (folder / "job.toml").write_text(JOB + "".join(models))
    return folder / "job.toml"


def refused(run: Run, *words: object) -> tuple[int, str]:
    """The exit code and the one line of a check that finds something."""
    code, out, told = run("check", *words)
    assert out == ""
    assert told.count("\n") == 1
    return code, told


def test_a_key_that_is_not_set_is_named_as_a_call_would_name_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for llm, variable in (
        ("openai:gpt-4.1-mini", "OPENAI_API_KEY"),
        ("anthropic:claude-haiku-4-5", "ANTHROPIC_API_KEY"),
    ):
        code, told = refused(run, DEMO, "--llm", llm)
        assert code == 3
        assert told.startswith("autointerp: Authentication: no key for ")
        assert variable in told
        monkeypatch.setenv(variable, "planted key")
        assert refused(run, DEMO, "--llm", llm) == (
            3,
            f"autointerp: Authentication: the environment variable {variable} holds no key: it has spaces or unusual "
            "characters\n",
        )
        monkeypatch.setenv(variable, "planted-key")
        code, out, told = run("check", DEMO, "--llm", llm)
        assert (code, told) == (0, "")
        assert "planted-key" not in out


def test_a_server_that_is_away_is_named(run: Run, away: str, listening: str) -> None:
    code, told = refused(run, DEMO, "--llm", f"{away}:m")
    assert code == 2
    assert told.startswith(f"autointerp: {away}: no connection (Connection refused): is the server running")
    code, out, _ = run("check", DEMO, "--llm", f"{listening}:m", "--price", "1,2", "--json")
    assert code == 0
    assert json.loads(out) == {"models": [{"provider": "openai_compatible", "model": "m", "price": "the job's price"}]}
    assert run("check", DEMO, "--llm", f"{listening}:m")[1] == "openai_compatible m: nothing is missing (unpriced)\n"


def test_a_model_file_that_is_not_there_or_none_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "some.gguf"
    assert refused(run, DEMO, "--llm", f"local:{path}") == (2, f"autointerp: {path}: no such model file or folder\n")
    path.write_bytes(b"GIF89a")
    assert f"{path}: not a GGUF file" in refused(run, DEMO, "--llm", f"local:{path}")[1]
    assert "not a model folder" in refused(run, DEMO, "--llm", f"local:{tmp_path}")[1]
    path.write_bytes(b"GGUF")
    assert run("check", DEMO, "--llm", f"local:{path}")[0] == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--llm", "gpt"), "--llm 'gpt': give openai:MODEL"),
        (("--llm", "openai:gpt-99-unheard-of"), "the price of gpt-99-unheard-of at OpenAI is not known: "),
        (("--llm", "openai:gpt-99-unheard-of", "--price", "1"), "--price '1': give two numbers"),
        (("--price", "1,2"), "--price goes with --llm"),
    ],
)
def test_what_was_named_in_another_form_is_refused(run: Run, words: tuple[str, ...], complaint: str) -> None:
    code, told = refused(run, DEMO, *words)
    assert code == 2
    assert complaint in told


def test_a_jobs_own_models_are_all_checked_but_those_that_are_replayed(run: Run, tmp_path: Path, away: str) -> None:
    assert run("check", DEMO)[:2] == (0, "no model would be asked\n")
    assert run("check", written(tmp_path))[:2] == (0, "no model would be asked\n")
    fine = MODEL.format("model", "local", "some/name")
    assert run("check", written(tmp_path, fine))[1] == "local some/name: nothing is missing (unpriced)\n"
    server = MODEL.format("simulator_model", "openai_compatible", "m")
    settings = f'settings = {{ base_url = "{away}", key_variable = "" }}\n'
    assert "no connection" in refused(run, written(tmp_path, fine, server, settings))[1]
    assert run("check", written(tmp_path, fine, server, "replay_only = true\n", settings))[0] == 0
    unknown = written(tmp_path, fine, server, settings.replace("key_variable", "keys"))
    assert "unknown setting 'keys'" in refused(run, unknown)[1]
    keyed = MODEL.format("explainer_model", "anthropic", "claude-haiku-4-5")
    assert refused(run, written(tmp_path, fine, keyed))[0] == 3


def test_a_run_on_another_model_begins_with_the_same(run: Run, tmp_path: Path) -> None:
    write_store(tmp_path / "nowhere")
    for llm, code in (("openai:gpt-4.1-mini", 3), (f"local:{tmp_path / 'some.gguf'}", 2)):
        assert run("run", written(tmp_path), "--llm", llm)[0] == code
    assert not (tmp_path / "runs").exists()


def demo(*variables: str) -> list[list[str]]:
    """The commands of ours that `make demo` would run, in order, as words."""
    told_by_make = ("MAKEFLAGS", "MAKELEVEL", "LLM", "PRICE", "UNITS")  # where a make runs the tests
    told = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "demo", *variables],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in told_by_make},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = told.stdout.replace("\\\n", " ").splitlines()
    return [
        shlex.split(line.partition("/bin/")[2]) for line in lines if "/bin/autointerp " in line or "/bin/sae " in line
    ]


def test_make_demo_checks_the_model_before_it_harvests() -> None:
    llm, price = "http://127.0.0.1:1/v1:my/model", "0.4,1.6"
    check, *harvests, run = demo(f"LLM={llm}", f"PRICE={price}", "UNITS=3")
    assert [words[:2] for words in harvests] == [["sae", "harvest"]] * 2
    assert check == ["autointerp", "check", "results/demo.toml", "--llm", llm, "--price", price]
    assert run[:3] == ["autointerp", "run", "results/demo.toml"]
    assert run[3:] == ["--llm", llm, "--price", price, "--units", "3", "--out", "runs/demo-live"]
    assert demo(f"LLM={llm}")[0] == check[:5]
    for _, name, *words in (check, run):
        commands: Any = typer.main.get_command(cli.app)
        assert not commands.commands[name].make_context(name, words).args


def test_make_demo_without_a_model_checks_none() -> None:
    assert [words[:2] for words in demo()] == [["sae", "harvest"]] * 2 + [["autointerp", "run"]]
