"""What a client of a PostgreSQL server can meet: each is one clear line without a password, and nothing is lost."""

from __future__ import annotations

import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from provider_samples import NOON, chat_reply, chat_request
from sqlalchemy import create_engine, make_url
from support.postgres import PostgresServer

from autointerp.errors import LedgerError
from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_export import export_jsonl


async def record(ledger: Ledger, text: str, words: str = "hi") -> None:
    await ledger.record("p", chat_request(text), chat_reply(words), asked_at=NOON, seconds=0.5)


async def fill(ledger: Ledger, recorded: list[str]) -> None:
    """Records texts that compress badly until that fails, and remembers the keys of what was recorded."""
    for number in range(1000):
        await record(ledger, str(number), " ".join(str(number * step) for step in range(2000)))
        recorded.append(request_key("p", chat_request(str(number))))


def opening(url: str, variable: str | None = None) -> str:
    """The one line that opening this ledger ends in."""
    with pytest.raises(LedgerError) as caught:
        Ledger(url, password_variable=variable)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_the_password_is_in_the_environment_and_nowhere_else(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = postgres.new_ledger()
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("MY_LEDGER", postgres.password)
    async with Ledger(url, password_variable="MY_LEDGER") as ledger:
        await record(ledger, "x")
        export_jsonl(ledger, tmp_path / "export.jsonl")
        seen = [ledger.name, repr(ledger._database.engine), repr(vars(ledger._database))]
    seen.append((tmp_path / "export.jsonl").read_text())
    assert "set the environment variable OTHER" in opening(url, "OTHER")
    assert "no connection" in opening(url)
    monkeypatch.setenv("PGPASSWORD", planted := "planted-and-wrong")
    with pytest.raises(LedgerError, match="password authentication failed") as caught:
        Ledger(url)
    seen += ["".join(traceback.format_exception(caught.value)), str(postgres.execute("SELECT * FROM calls", url))]
    for text in seen:
        assert postgres.password not in text
        assert planted not in text


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:planted@host/base", "postgresql://me@host/base?password=planted", "postgresql://me:planted@h:x/"],
)
def test_a_url_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger(url)
    assert "planted" not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)


def test_a_server_a_schema_and_a_driver_that_are_not_there(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is the server running" in opening(f"postgresql://me@/base?host={tmp_path}")
    assert "no connection" in opening(make_url(postgres.url).set(database="nowhere").render_as_string())
    assert "no schema" in opening(postgres.with_options(postgres.url, "-csearch_path=nowhere"))
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    assert "pip install 'autointerp[postgres]'" in opening(postgres.url)


def test_a_user_who_may_not(postgres: PostgresServer) -> None:
    url = postgres.new_ledger()
    postgres.execute(f"CREATE ROLE guest LOGIN PASSWORD '{postgres.password}'")
    assert "no schema" in opening(make_url(url).set(username="guest").render_as_string())
    read_only = postgres.with_options(url, "-cdefault_transaction_read_only=on")
    assert "read-only" in opening(read_only)


async def test_a_ledger_that_may_be_read_and_not_written(postgres: PostgresServer) -> None:
    url = postgres.new_ledger()
    async with Ledger(url) as ledger:
        await record(ledger, "known")
    async with Ledger(postgres.with_options(url, "-cdefault_transaction_read_only=on")) as ledger:
        assert ledger.get(request_key("p", chat_request("known"))) == chat_reply()
        with pytest.raises(LedgerError, match="read-only"):
            ledger.check_writable()


async def test_a_ledger_that_another_session_holds(postgres: PostgresServer) -> None:
    url = postgres.new_ledger()
    async with Ledger(url, wait_s=0.05) as ledger:
        await record(ledger, "known")
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
        with engine.begin() as holder:
            holder.exec_driver_sql("LOCK TABLE calls IN EXCLUSIVE MODE")
            with pytest.raises(LedgerError, match="locked by another process") as caught:
                await record(ledger, "new")
            assert "\n" not in str(caught.value)
            with pytest.raises(LedgerError, match="locked by another process"):
                ledger.check_writable()
            assert ledger.get(request_key("p", chat_request("known"))) == chat_reply()
        engine.dispose()
        ledger.check_writable()
        await record(ledger, "new")
        assert ledger.get(request_key("p", chat_request("new"))) == chat_reply()


async def test_a_server_that_crashes_and_comes_back(postgres: PostgresServer) -> None:
    keys = [request_key("p", chat_request(str(number))) for number in range(3)]
    async with Ledger(postgres.new_ledger()) as ledger:
        await record(ledger, "0")
        assert await ledger.find(keys[0]) == chat_reply()
        postgres.crash()
        try:
            for work in (record(ledger, "1"), ledger.find(keys[0])):
                with pytest.raises(LedgerError) as caught:
                    await work
                assert "\n" not in str(caught.value)
                assert "is it running" in str(caught.value) or "is the server running" in str(caught.value)
        finally:
            postgres.start()
        assert await ledger.find(keys[0]) == chat_reply()
        await record(ledger, "2")
        postgres.crash()
        postgres.start()
        assert ledger.get(keys[2]) == chat_reply()  # a connection that was lost is made again
        assert ledger.get(keys[1]) is None
        assert ledger.verify() == []


@pytest.fixture
def small_disk(postgres: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """The name of a tablespace of one megabyte."""
    folder = postgres.folder / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("needs the right to mount a file system of one megabyte")
    (folder / "space").mkdir()
    postgres.give(folder)
    postgres.give(folder / "space")
    postgres.execute(f"CREATE TABLESPACE small LOCATION '{folder / 'space'}'")
    yield "small"
    postgres.execute("DROP SCHEMA on_small CASCADE")
    postgres.execute("DROP TABLESPACE small")
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


async def test_a_full_disk_of_the_server(postgres: PostgresServer, small_disk: str) -> None:
    postgres.execute("CREATE SCHEMA on_small")
    url = postgres.with_options(postgres.url, f"-csearch_path=on_small -cdefault_tablespace={small_disk}")
    recorded: list[str] = []
    async with Ledger(url) as ledger:
        with pytest.raises(LedgerError, match="the server's disk is full"):
            await fill(ledger, recorded)
        assert len(recorded) > 10
        assert all(ledger.get(key) for key in recorded)
        assert ledger.verify() == []
