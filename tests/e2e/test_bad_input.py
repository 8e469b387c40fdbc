"""Bad input, through the command itself: one clear line, the exit code of the contract, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.stores import PLANTED, refresh_manifest, write_store
from support.waits import shorten_waits
from test_job import Reader

from autointerp import cli, registry
from autointerp.errors import BadReply, Quota
from autointerp.results import read_scores

JOB = """
name = "bad"
[store]
path = "store"
[units]
features = [0, 1]
neurons = [0]
[model]
provider = "openai_compatible"
name = "m"
settings = { base_url = "http://127.0.0.1:9/v1", key_variable = "" }
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a store and a job."""
    write_store(tmp_path / "store", blocks=120)
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `autointerp ...` and gives (exit code, standard output, standard error without the progress bars)."""

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autointerp", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        said = "\n".join(line for line in told.err.splitlines() if line.startswith("autointerp: "))
        assert "Traceback" not in told.err
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, said

    return command


def change(folder: Path, old: str, new: str) -> Path:
    assert old in JOB
    (folder / "job.toml").write_text(JOB.replace(old, new))
    return folder / "job.toml"


def refused(run: Run, *words: object) -> str:
    """The one line with which a command is refused as bad input."""
    code, out, said = run(*words)
    assert (code, out) == (2, "")
    assert said.count("\n") == 0
    return said


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "features = [0, 1]",
            'features = "some"',
            "units.features: a number, a list of indices, or \"all\", not 'some'",
        ),
        ("features = [0, 1]", "features = [0, -1]", "a list of indices"),
        ("features = [0, 1]", "features = true", "a list of indices"),
        ('name = "bad"', 'name = "../bad"', "name: letters, digits, spaces"),
        ('name = "openai"', 'name = "openai"\n[[presets]]\nname = "openai"', "each preset may appear once in a job"),
        ("features = [0, 1]\nneurons = [0]", "", "nothing to do: [units] names no unit"),
        ('path = "store"', 'path = "nowhere"', "nowhere: no such folder; a context store is made by: sae harvest"),
        ('provider = "openai_compatible"', 'provider = "opneai"', "unknown provider 'opneai': known are"),
        ('name = "openai"', 'name = "opneai"', "unknown preset 'opneai': known are openai, tm"),
        ("key_variable", "key_varable", "unknown setting 'key_varable' of the provider openai_compatible"),
        ("resamples = 100", 'resamples = 100\n[ledger]\nimports = ["none.gz"]', "none.gz: cannot be read"),
        ("resamples = 100", 'resamples = 100\n[ledger]\npath = "store"', "store: cannot be opened"),
    ],
)
def test_a_wrong_job_is_refused_before_anything_is_computed(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, complaint: str
) -> None:
    monkeypatch.setattr("autointerp.jobs.run.baselines", lambda *_: pytest.fail("a baseline was computed"))
    assert complaint in refused(run, "run", change(folder, old, new), "--out", folder / "run")
    assert not (folder / "run" / "scores.parquet").exists()


def test_a_job_file_that_is_none(run: Run, folder: Path) -> None:
    (folder / "binary.toml").write_bytes(bytes(range(256)))
    (folder / "prose.toml").write_text("a job, please")
    assert "no such job file" in refused(run, "run", folder / "missing.toml")
    assert "cannot be read" in refused(run, "run", folder)
    assert "cannot be read" in refused(run, "run", folder / "binary.toml")
    assert "not valid TOML" in refused(run, "run", folder / "prose.toml")


def test_a_run_is_not_written_over_something_else(run: Run, folder: Path) -> None:
    before = (folder / "store" / "manifest.json").read_bytes()
    assert "holds something else than a run" in refused(run, "run", folder / "job.toml", "--out", folder / "store")
    assert (folder / "store" / "manifest.json").read_bytes() == before
    assert "cannot be written" in refused(run, "run", folder / "job.toml", "--out", folder / "job.toml")
    assert "cannot be written" in refused(run, "run", folder / "job.toml", "--out", folder / "job.toml" / "run")


def damage_version(store: Path) -> None:
    refresh_manifest(store, version=2)


def damage_by_cutting(store: Path) -> None:
    path = store / "feature" / "activations.npy"
    path.write_bytes(path.read_bytes()[:1000])


def damage_by_removing(store: Path) -> None:
    (store / "vocab.json").unlink()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (damage_version, "format version 2, and this program reads up to 1: update autointerp"),
        (damage_by_cutting, "damaged or cut short; copy the store again, or harvest again"),
        (damage_by_removing, "vocab.json: the file is missing; copy the store again"),
    ],
)
def test_a_damaged_store(run: Run, folder: Path, damage: Callable[[Path], None], complaint: str) -> None:
    damage(folder / "store")
    assert complaint in refused(run, "run", folder / "job.toml", "--out", folder / "run")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("job.toml", "not a GGUF file"), ("store", "not a model folder"), ("gone.gguf", "no such model file or folder")],
)
def test_a_model_file_that_is_none(run: Run, folder: Path, name: str, complaint: str) -> None:
    job = change(folder, 'base_url = "http://127.0.0.1:9/v1", key_variable = ""', f'path = "{name}"')
    job.write_text(job.read_text().replace("openai_compatible", "local"))
    assert complaint in refused(run, "run", job, "--out", folder / "run")


# What is no bad input but leaves units without a score: done, with the reason in one line, and nothing lost.


@contextmanager
def server(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that answers everything with `body`."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    class Serving(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...  # a job that stops leaves its other calls

    with Serving(("127.0.0.1", 0), Answer) as serving:
        thread = Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/v1"
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"<html>welcome</html>", "bad reply (first: toy/"),
        (b"", "bad reply (first: toy/"),
        (b'{"choices": []}', "no choices"),
        (bytes(range(256)), "bad reply (first: toy/"),
        (
            json.dumps({"choices": [{"message": {"content": "a\nb\n\x1b[31mc"}, "finish_reason": "stop"}]}).encode(),
            "the reply has 3 lines instead of one",
        ),
    ],
)
def test_a_server_that_answers_garbage(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, complaint: str
) -> None:
    shorten_waits(monkeypatch)
    with server(200, body) as address:
        job = change(folder, "http://127.0.0.1:9/v1", address)
        code, out, said = run("run", job, "--out", folder / "run")
        assert (code, said.count("\n")) == (0, 0)
        assert said.startswith("autointerp: 3 units have no score")
        assert complaint in said
        assert said.isprintable()
        assert "0 of 2" in out
        assert run("run", job, "--out", folder / "run", "--strict")[0] == 1
    frame = read_scores(folder / "run")
    assert set(frame[frame.scorer == "openai.simulation"].status) == {"unscored"}
    assert (frame[frame.scorer == "openai.token_lookup"].status == "scored").any()


@pytest.mark.parametrize(("status", "kind"), [(401, "Authentication"), (402, "Quota"), (404, "NotFound")])
def test_a_server_that_refuses_is_exit_code_3(run: Run, folder: Path, status: int, kind: str) -> None:
    with server(status, b"{}") as address:
        code, _, said = run("run", change(folder, "http://127.0.0.1:9/v1", address), "--out", folder / "run")
    assert code == 3
    assert kind in said
    assert said.count("\n") == 0


def test_a_ledger_without_the_replies_says_so(run: Run, folder: Path) -> None:
    code, _, said = run("run", change(folder, 'name = "m"', 'name = "m"\nreplay_only = true'), "--out", folder / "run")
    assert code == 0
    assert said.startswith("autointerp: 3 units have no score, not in ledger (first: toy/blocks.0.mlp.hook_post/")
    assert "allow live calls, or replay with the ledger of that run" in said


def test_a_unit_that_never_fires_is_named(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, Reader)
    job = change(folder, "features = [0, 1]", f"features = [0, 1, {PLANTED['silent']}]")
    code, _, said = run("run", job, "--out", folder / "run")
    assert code == 0
    assert "1 unit has no score, never fires (first: toy/" in said
    assert f"/feature/toy-sae/{PLANTED['silent']})" in said


# What failed is asked again, and what was answered is not.


def answer_with(monkeypatch: pytest.MonkeyPatch, provider: type[Reader]) -> None:
    found = registry.find
    monkeypatch.setattr(registry, "find", lambda group, name: provider if group == "providers" else found(group, name))


@pytest.mark.parametrize(("error", "first_code"), [(Quota("insufficient_quota"), 3), (BadReply("<html>"), 0)])
def test_peer_defect_what_failed_can_be_run_again_and_alone(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, first_code: int
) -> None:
    """A peer stored a 20% score when the account was empty, and could not score that unit again."""

    shorten_waits(monkeypatch)

    class Failing(Reader):
        asked = []  # noqa: RUF012
        fails = {"EchoRequest": error}  # noqa: RUF012

    class Working(Reader):
        asked = []  # noqa: RUF012

    job = change(folder, 'simulator = "json"', "")
    answer_with(monkeypatch, Failing)
    assert run("run", job, "--out", folder / "run")[0] == first_code
    explained = [request for request in Failing.asked if type(request).__name__ == "ChatRequest"]
    assert len(explained) >= (1 if first_code else 3)
    monkeypatch.undo()

    answer_with(monkeypatch, Working)
    monkeypatch.setattr(sys, "argv", ["autointerp", "run", str(job), "--out", str(folder / "run")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    again = [request for request in Working.asked if type(request).__name__ == "ChatRequest"]
    assert not [request for request in again if request in explained], "a known answer was asked for again"
    frame = read_scores(folder / "run")
    assert (frame[(frame.scorer == "openai.simulation") & (frame.role == "explanation")].status == "scored").any()
    assert not frame.reason.isin(["provider_error", "bad_reply"]).any()


# Reading a run's folder.


@pytest.fixture
def finished(run: Run, folder: Path) -> Path:
    """A run without a model."""
    text = JOB.replace("[model]\n", "[[removed]]\n").replace("features = [0, 1]\nneurons = [0]", "")
    start, end = text.index("[[removed]]"), text.index("[statistics]")
    (folder / "bare.toml").write_text(text[:start] + '[baselines]\nunits = "all"\n' + text[end:])
    assert run("run", folder / "bare.toml", "--out", folder / "run")[0] == 0
    return folder / "run"


def test_a_run_without_a_model_ranks_by_the_baselines(run: Run, finished: Path) -> None:
    code, out, said = run("show", finished, "--json")
    assert (code, said) == (0, "")
    ranking = json.loads(out)["ranking"]
    assert ranking
    assert {(place["scorer"], place["explanation"]) for place in ranking} == {("openai.token_lookup", None)}


def test_a_constant_that_a_protocol_counts_as_zero_ranks_nothing(run: Run, folder: Path) -> None:
    bare = '[statistics]\nresamples = 100\n[[presets]]\nname = "tm"\n[baselines]\nunits = "all"\n'
    (folder / "tm.toml").write_text(f'name = "tm"\n[store]\npath = "store"\n{bare}')
    code, out, _ = run("run", folder / "tm.toml", "--out", folder / "run", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["summary"]["feature"]["tm.constant"]["mean"] == 0.0
    assert list(found["rankings"]) == ["tm.token_lookup"]
    assert found["ranking"][0]["score"] > 0.5  # a planted feature that fires on one token


def test_an_explanation_does_nothing_to_a_terminal(run: Run, finished: Path) -> None:
    hostile = "a\x1b[2J\x9b31m\u202e\x85autointerp: done [red]"
    table = pq.read_table(finished / "scores.parquet")
    place = table.schema.get_field_index("explanation")
    texts = pa.array([hostile] * len(table), table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), texts), finished / "scores.parquet")
    code, out, _ = run("show", finished)
    assert code == 0
    assert all(line.isprintable() for line in out.split("\n"))
    assert "a\\x1b[2J\\x9b31m\\u202e\\x85autointerp: done [red]" in " ".join(out.split())
    code, out, _ = run("show", finished, "--json")
    assert out.isascii()
    assert {place["explanation"] for place in json.loads(out)["ranking"]} == {hostile}


def test_a_folder_that_is_no_run(run: Run, folder: Path) -> None:
    for command in ("show", "report"):
        for name in ("nowhere", "store"):
            assert "give the folder of a finished run" in refused(run, command, folder / name)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("scores.parquet", b"PAR1", "cannot be read as Parquet"),
        ("manifest.json", b'{"format": "autointerp-run", "ver', "manifest.json cannot be read"),
        ("manifest.json", b"[]", "is not the manifest of a run"),
        ("manifest.json", b'{"format": "autointerp-run", "version": 9}', "version 9, and this program reads version 1"),
        ("manifest.json", b'{"format": "autointerp-run", "version": 1}', "lacks 'name'"),
        ("units.jsonl.gz", b"\x1f\x8b\x08", "is damaged"),
        ("units.jsonl.gz", b"{}\n", "is damaged"),
    ],
)
def test_a_damaged_run(run: Run, finished: Path, name: str, content: bytes, complaint: str) -> None:
    (finished / name).write_bytes(content)
    assert complaint in refused(run, "report", finished)


def test_a_place_that_cannot_be_written_is_one_line(run: Run, finished: Path) -> None:
    shutil.rmtree(finished / "figures")
    (finished / "figures").write_text("a file in the place of a folder")
    assert "figures: File exists" in refused(run, "report", finished)


@pytest.mark.skipif(os.geteuid() == 0, reason="to the superuser every file is readable")
def test_a_file_without_permission(run: Run, finished: Path) -> None:
    (finished / "scores.parquet").chmod(0)
    assert "scores.parquet" in refused(run, "show", finished)


def test_unknown_commands_and_options(run: Run, folder: Path) -> None:
    assert "No such command 'explode'" in refused(run, "explode")
    assert "No such option" in refused(run, "run", folder / "job.toml", "--explode")
    assert "Missing argument" in refused(run, "show")
    assert "--units goes with --llm" in refused(run, "run", folder / "job.toml", "--units", 3)
    code, out, said = run()
    assert (code, said) == (2, "")
    assert "Usage" in out
