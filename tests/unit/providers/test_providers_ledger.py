"""The ledger: durable, first answer wins, failures answer nothing, and one clear line for every broken file."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from provider_samples import NOON, chat_reply, chat_request, echo_reply, echo_request

from autointerp.errors import Authentication, ContextOverflow, LedgerError, RateLimited
from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger
from autointerp.types import Usage


async def record(ledger: Ledger, request: object, outcome: object, seconds: float = 0.5) -> None:
    await ledger.record("p", request, outcome, asked_at=NOON, seconds=seconds)


async def test_a_recorded_reply_is_found_by_its_key_also_by_another_process(ledger: Ledger) -> None:
    for request, reply in ((chat_request(), chat_reply()), (echo_request(), echo_reply())):
        assert ledger.get(request_key("p", request)) is None
        await record(ledger, request, reply)
        assert ledger.get(request_key("p", request)) == reply
        assert ledger.get(request_key("q", request)) is None
    async with Ledger(ledger.path) as second:
        assert second.get(request_key("p", chat_request())) == chat_reply()


async def test_the_first_answer_to_a_key_stays(ledger: Ledger) -> None:
    await record(ledger, chat_request(), chat_reply("first"))
    await record(ledger, chat_request(), chat_reply("second"))
    assert ledger.get(request_key("p", chat_request())) == chat_reply("first")
    # and inside one commit
    await asyncio.gather(*(record(ledger, chat_request("x"), chat_reply(word)) for word in ("one", "two", "three")))
    assert ledger.get(request_key("p", chat_request("x"))) == chat_reply("one")
    assert ledger.statistics().answered == 2


async def test_a_failed_call_is_kept_but_answers_nothing(ledger: Ledger) -> None:
    key = request_key("p", chat_request())
    await record(ledger, chat_request(), ContextOverflow("9000 tokens"))
    assert ledger.get(key) is None
    failure = ledger.failure(key)
    assert isinstance(failure, ContextOverflow)
    assert str(failure) == "9000 tokens"
    await record(ledger, chat_request(), chat_reply())
    assert ledger.get(key) == chat_reply()
    [model] = ledger.statistics().models
    assert (model.answered, model.failed, model.usage) == (1, 1, Usage(3, 2, 1))


async def test_a_failure_that_stops_a_job_says_nothing_of_the_request(ledger: Ledger) -> None:
    await record(ledger, chat_request(), Authentication("wrong key"))
    assert ledger.failure(request_key("p", chat_request())) is None
    await record(ledger, chat_request("other"), RateLimited("slow down", 3.0))
    assert isinstance(ledger.failure(request_key("p", chat_request("other"))), RateLimited)


async def test_statistics_count_by_model_and_verify_finds_nothing_wrong(ledger: Ledger) -> None:
    for model, texts in (("b", "xy"), ("a", "x")):
        for text in texts:
            await record(ledger, chat_request(text, model=model), chat_reply())
    assert [(row.provider, row.model, row.answered) for row in ledger.statistics().models] == [
        ("p", "a", 1),
        ("p", "b", 2),
    ]
    assert ledger.statistics().models[1].usage == Usage(6, 4, 2)
    assert ledger.verify() == []


async def test_verify_names_the_calls_that_were_tampered_with(ledger: Ledger) -> None:
    for text in ("request", "reply", "whole"):
        await record(ledger, chat_request(text), chat_reply())
    damaged, broken = (request_key("p", chat_request(text)) for text in ("request", "reply"))
    with sqlite3.connect(ledger.path) as other:
        other.execute(
            "UPDATE calls SET request = replace(request, '\"max_tokens\":8', '\"max_tokens\":9') WHERE key = ?",
            [damaged],
        )
        other.execute("UPDATE calls SET reply = substr(reply, 2) WHERE key = ?", [broken])
    other.close()
    problems = dict(problem.split(": ", 1) for problem in ledger.verify())
    assert set(problems) == {damaged, broken}
    with pytest.raises(LedgerError, match="damaged"):
        ledger.get(broken)


async def test_a_commit_is_shared_by_the_calls_that_wait_for_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    commit = ledger._commit
    monkeypatch.setattr(ledger, "_commit", lambda rows: (commits.append(len(rows)), commit(rows)))
    await asyncio.gather(*(record(ledger, chat_request(str(number)), chat_reply()) for number in range(100)))
    assert sum(commits) == 100
    assert len(commits) <= 3


async def test_identical_requests_in_flight_are_asked_once_and_outlive_a_cancelled_caller(ledger: Ledger) -> None:
    asked = 0
    go = asyncio.Event()

    async def ask() -> object:
        nonlocal asked
        asked += 1
        await go.wait()
        return chat_reply()

    callers = [asyncio.create_task(ledger.joined("k", ask)) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    go.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert asked == 1
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [(chat_reply(), False)] * 2
    await ledger.joined("k", ask)
    assert asked == 2  # joining is for calls in flight; what has landed is found by `get`


def test_kill_9_loses_nothing_that_record_returned_for(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), str(path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    seen = [writer.stdout.readline().split() for _ in range(40)]
    os.kill(writer.pid, signal.SIGKILL)
    seen += [line.split() for line in writer.stdout.read().splitlines() if len(line) == 64]
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL

    async def check() -> None:
        async with Ledger(path) as ledger:
            assert all(ledger.get(key) == chat_reply() for [key] in seen)
            assert ledger.verify() == []

    asyncio.run(check())


_WRITER = """
    import asyncio, sys
    sys.path.insert(0, sys.argv[2])
    from provider_samples import NOON, chat_reply, chat_request
    from autointerp.protocols import request_key
    from autointerp.providers.ledger import Ledger

    async def one(ledger, number):
        request = chat_request(str(number))
        await ledger.record("p", request, chat_reply(), asked_at=NOON, seconds=0.1)
        print(request_key("p", request), flush=True)

    async def main():
        async with Ledger(sys.argv[1]) as ledger:
            for start in range(0, 100_000, 8):
                await asyncio.gather(*(one(ledger, start + step) for step in range(8)))

    asyncio.run(main())
"""


def opening(path: Path) -> str:
    """The one line that opening this file ends in."""
    with pytest.raises(LedgerError) as caught:
        Ledger(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("this is a text of more than sixteen bytes\n" * 100)
    assert "is not a ledger" in opening(path)
    assert path.read_text().startswith("this is")


def test_a_database_of_another_program_and_a_ledger_of_a_later_version(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    assert "not a ledger" in opening(tmp_path / "other.sqlite")
    later = tmp_path / "later.sqlite"
    asyncio.run(Ledger(later).close())
    with sqlite3.connect(later) as connection:
        connection.execute("UPDATE about SET version = 2")
    connection.close()
    assert "version 2" in opening(later)


async def test_a_corrupt_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with Ledger(path) as ledger:
        for number in range(50):
            await record(ledger, chat_request(str(number) * 300), chat_reply())
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="corrupt"):
        async with Ledger(path) as ledger:
            ledger.get(request_key("p", chat_request("1")))


def test_folders_that_cannot_hold_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing" / "ledger.sqlite", tmp_path / "file" / "ledger.sqlite", tmp_path):
        assert "cannot be opened" in opening(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be opened" in opening(tmp_path / "ledger.sqlite")


async def test_a_ledger_that_another_process_holds(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.providers.ledger_database._BUSY_S", 0.05)
    holder = sqlite3.connect(ledger.path)
    holder.execute("BEGIN EXCLUSIVE")
    async with Ledger(ledger.path) as second:
        with pytest.raises(LedgerError, match="locked by another process"):
            await record(second, chat_request(), chat_reply())
        holder.rollback()
        holder.close()
        await record(second, chat_request(), chat_reply())  # the same ledger goes on
        assert second.get(request_key("p", chat_request())) == chat_reply()


async def test_a_full_disk_is_an_error_of_the_calls_that_were_not_written(ledger: Ledger) -> None:
    await record(ledger, chat_request("kept"), chat_reply())
    with ledger._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    ledger._engine.dispose()
    from sqlalchemy import event

    event.listen(ledger._engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count={pages}").close())
    with pytest.raises(LedgerError, match="disk is full"):
        await record(ledger, chat_request("x" * 100_000), chat_reply())
    assert ledger.get(request_key("p", chat_request("kept"))) == chat_reply()
