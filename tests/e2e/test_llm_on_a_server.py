"""The demo's way to another model: `autointerp run JOB --llm http://...:MODEL --units N`, as a process, on a server."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from support.stores import write_store

from autointerp.results import read_scores

ROOT = Path(__file__).parents[2]
# As the demo's job: its own model is in process and replayed, and the job has two protocols and a control.
JOB = """
name = "demo"
[store]
path = "store"
control = "control"
[units]
features = 4
neurons = 3
control_features = 4
[baselines]
units = "selected"
[model]
provider = "local"
name = "recorded"
replay_only = true
[simulator_model]
provider = "local"
name = "another"
replay_only = true
[ledger]
path = "ledger.sqlite"
imports = ["recorded.jsonl.gz"]
[statistics]
resamples = 100
[[presets]]
name = "openai"
[[presets]]
name = "tm"
"""


def answer(body: dict[str, Any]) -> str:
    """Explains everything as cats; as a simulator it says that " cat" and " dog" are strong, and all else is 0."""
    question = body["messages"][-1]["content"]
    if "response_format" in body:
        labels = [
            label for text in re.findall(r"^Text \d+: (.*)$", question, re.MULTILINE) for label in json.loads(text)
        ]
        return json.dumps({label: 9 if label.endswith((": cat", ": dog")) else 0 for label in labels})
    return "Thoughts.\n<answer>cats</answer>" if "<answer>" in body["messages"][0]["content"] else "cats and dogs"


@contextmanager
def serving() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(the server's address, the bodies it was asked with)."""
    asked: list[dict[str, Any]] = []

    class Chat(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append(body)
            message = {"role": "assistant", "content": answer(body)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 9, "completion_tokens": 3}
            said = json.dumps({"model": "served-1", "choices": [choice], "usage": usage}).encode()
            self.send_response(200 if self.path == "/v1/chat/completions" else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(tmp_path / "store", blocks=120)
    write_store(tmp_path / "control", blocks=120, control="shuffled_weights")
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autointerp.cli", "run", str(folder / "job.toml"), "--out", str(folder / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)


def test_the_demos_job_on_another_model(folder: Path) -> None:
    with serving() as (address, asked):
        done = run(folder, "--llm", f"{address}:my/model", "--units", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert {body["model"] for body in asked} == {"my/model"}
    assert {place["kind"] for place in json.loads(done.stdout)["ranking"]} <= {"feature", "neuron"}

    frame = read_scores(folder / "run")
    rows = frame[frame.primary & frame.scorer.isin(["openai.simulation", "tm.simulation"])]
    counts = rows[rows.role != "control_other_explanation"].groupby(["scorer", "kind", "role"])["unit"].nunique()
    assert counts.to_dict() == {
        (scorer, *group): 2
        for scorer in ("openai.simulation", "tm.simulation")
        for group in (("feature", "explanation"), ("neuron", "explanation"), ("feature", "control_shuffled_weights"))
    }
    animal = rows[(rows.unit.str.endswith("/feature/toy-sae/0")) & (rows.role == "explanation")]
    assert (animal.value > 0.5).all()
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    assert {(one["provider"], one["asked"], one["served"]) for one in manifest["models"]} == {
        ("openai_compatible", "my/model", "served-1")
    }

    plan, *said = done.stderr.splitlines()  # a pipe, so plain lines
    assert plan.startswith("plan: about ")
    assert all(line.isprintable() for line in said)
    phases = [line.partition(":")[0] + line.partition(":")[2].partition(":")[0] for line in said]
    assert [one for one in phases if "features, explaining" in one]
    assert [one for one in phases if "neurons, simulating" in one]
    assert all(" of " in line for line in said)


def test_a_server_that_does_not_run_is_named_before_anything_is_computed(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        done = run(folder, "--llm", f"{address}:m", "--units", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"autointerp: {address}: no connection (Connection refused): is the server running")
    assert done.stderr.count("\n") == 1
    assert not (folder / "run").exists()
