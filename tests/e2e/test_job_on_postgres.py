"""A job whose ledger is a PostgreSQL database: the same bytes as from a file, and no password anywhere in its run."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.postgres import PostgresServer
from support.stores import write_store

from autointerp import registry
from autointerp.errors import BadJob, LedgerError
from autointerp.jobs import load_job, run_job
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, Reply, Request
from autointerp.providers import ScriptedProvider
from autointerp.types import Usage

JOB = """
name = "planted"
[store]
path = "store"
[units]
features = [0, 1]
[model]
provider = "scripted"
name = "reader"
[statistics]
resamples = 200
[ledger]
{ledger}
[[presets]]
name = "openai"
"""


class Reader(ScriptedProvider):
    """Says of everything that it is about cats, and that each token is as likely a cat as its place says."""

    asked_of_all = 0

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> Reader:
        return cls(cls.answer)

    @classmethod
    def answer(cls, request: Request) -> Reply:
        cls.asked_of_all += 1
        if isinstance(request, ChatRequest):
            return ChatReply("cats", "stop", "reader-1", Usage(10, 2))
        levels = range(len(request.candidates))
        rows = tuple(tuple(-0.1 * (1 + (place + level) % 10) for level in levels) for place in request.slots)
        return EchoReply(rows, "reader-1", Usage(20))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_store(tmp_path / "store")
    found = registry.find
    monkeypatch.setattr(registry, "find", lambda group, name: Reader if group == "providers" else found(group, name))
    return tmp_path


def job_on(folder: Path, ledger: str) -> Path:
    path = folder / "job.toml"
    path.write_text(JOB.format(ledger=ledger))
    return path


def test_a_run_on_a_server_gives_the_bytes_of_a_run_on_a_file(
    folder: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("LEDGER_PASSWORD", postgres.password)
    place = f'url = "{postgres.new_ledger()}"\npassword_variable = "LEDGER_PASSWORD"'
    on_server = run_job(load_job(job_on(folder, place)), folder, folder / "server")
    again = run_job(load_job(on_server / "job.toml"), on_server, folder / "again")
    asked = Reader.asked_of_all
    assert asked > 0
    on_file = run_job(load_job(job_on(folder, 'path = "ledger.sqlite"')), folder, folder / "file")
    assert Reader.asked_of_all == 2 * asked  # the second run on the server asked nothing, the one on the file all
    assert len({(run / "scores.parquet").read_bytes() for run in (on_server, again, on_file)}) == 1
    for path in (file for file in on_server.rglob("*") if file.is_file()):
        assert postgres.password.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("ledger", "complaint"),
    [
        ('url = "postgresql://me:planted@host/base"', "holds a password"),
        ('url = "mysql://me@host/base?x=planted"', "and no mysql"),
        ('url = "postgresql://me@host/base"\npath = "ledger.sqlite"', "a path or a url, not both"),
        ('path = "postgresql://me:planted@host/base"', "path is a URL"),
        ('password_variable = "LEDGER_PASSWORD"', "goes with a url"),
    ],
)
def test_a_wrong_ledger_is_refused_in_one_line_that_does_not_repeat_it(
    folder: Path, ledger: str, complaint: str
) -> None:
    with pytest.raises(BadJob, match=complaint) as caught:
        load_job(job_on(folder, ledger))
    assert "\n" not in str(caught.value)
    assert "planted" not in "".join(traceback.format_exception(caught.value))


def test_a_folder_that_cannot_be_made_is_one_line(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(LedgerError, match="its folder cannot be made"):
        run_job(load_job(job_on(folder, 'path = "file/ledger.sqlite"')), folder, folder / "run")
