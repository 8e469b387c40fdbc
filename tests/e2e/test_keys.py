"""Keys are planted in the environment; then whatever a job made, wherever it ended, is searched for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fault_server import serving_faults
from support.stores import write_store

from autointerp.cli import main
from tests.unit.providers.loopback_server import Answer, serving

KEYS = {
    "OPENAI_API_KEY": "sk-planted-openai-0123456789",
    "ANTHROPIC_API_KEY": "sk-ant-planted-0123456789",
    "COMPATIBLE_KEY": "planted-compatible-0123456789",
    "PGPASSWORD": "planted-password-0123456789",
}
PROVIDERS = {  # model, what follows the address, the variable with the key
    "openai": ("gpt-4.1", "/v1", "OPENAI_API_KEY"),
    "anthropic": ("claude-haiku-4-5", "", "ANTHROPIC_API_KEY"),
    "openai_compatible": ("m", "/v1", "COMPATIBLE_KEY"),
}
JOB = """
name = "keys"
[store]
path = "store"
[units]
features = [0]
[baselines]
units = "none"
[model]
provider = "{provider}"
name = "{model}"
settings = {{ base_url = "{url}", key_variable = "{variable}" }}
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
explainer_temperature = "none"
simulator_temperature = "none"
controls = false
"""
# Dies in the middle of the work, with all that Python would print of it.
CRASH = """
import sys
from autointerp.cli import main
import autointerp.jobs.run as run
run.detail = lambda *_: 1 / 0
sys.argv = ["autointerp", "run", sys.argv[1], "--out", sys.argv[2]]
main()
"""


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    for name in ("write_figures", "write_report"):
        monkeypatch.setattr(f"autointerp.results.writer.{name}", lambda *_: None)


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write_job(folder: Path, provider: str, address: str) -> Path:
    if not (folder / "store").exists():
        write_store(folder / "store", blocks=120)
    model, path, variable = PROVIDERS[provider]
    job = folder / "job.toml"
    job.write_text(JOB.format(provider=provider, model=model, url=address + path, variable=variable))
    return job


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["autointerp", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(str(ended.value.code))


def search(folder: Path, *told: str) -> None:
    """Every file below the folder, and what was printed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for key in KEYS.values():
        assert [path for path in files if key.encode() in path.read_bytes()] == []
        assert [text for text in told if key in text] == []


def test_a_job_that_succeeds_and_its_exports(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving_faults() as server:
        job = write_job(tmp_path, provider, server.url)
        assert command(monkeypatch, "run", job, "--out", tmp_path / "run") == 0
    assert len(server.seen) == 11
    assert command(monkeypatch, "ledger", "export", tmp_path / "ledger.sqlite", tmp_path / "export.jsonl") == 0
    assert command(monkeypatch, "show", tmp_path / "run", "--json") == 0
    search(tmp_path, *capfd.readouterr())


def test_a_server_that_refuses_the_key_and_repeats_it(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = KEYS[PROVIDERS[provider][2]]
    said = {"type": "error", "error": {"message": f"Incorrect API key provided: {key}", "type": key, "code": key}}
    with serving() as server:
        server.answers = [Answer(said, 401, {"x-echo": key})]
        job = write_job(tmp_path, provider, server.url.removesuffix("/v1"))
        assert command(monkeypatch, "run", job, "--out", tmp_path / "run") == 3
    sent = {value for _, headers, _ in server.asked for value in headers.values()}
    assert any(key in value for value in sent), "the key was never sent, so this test could not fail"
    told = capfd.readouterr()
    assert "the key was refused" in told.err
    assert command(monkeypatch, "ledger", "export", tmp_path / "ledger.sqlite", tmp_path / "export.jsonl") == 0
    search(tmp_path, *told, *capfd.readouterr())


def test_a_crash(tmp_path: Path) -> None:
    with serving_faults() as server:
        job = write_job(tmp_path, "openai", server.url)
        crashed = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore", "-c", CRASH, str(job), str(tmp_path / "run")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONASYNCIODEBUG": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert "ZeroDivisionError" in crashed.stderr
    assert server.seen
    search(tmp_path, crashed.stdout, crashed.stderr)
