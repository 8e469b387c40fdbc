"""`autointerp ledger` from the outside: what it prints, its documents, its exit codes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from ledger_command import Run, document
from support.postgres import PostgresServer

from autointerp.errors import BadReply
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, Message, request_key
from autointerp.providers import Ledger
from autointerp.types import Usage

HOSTILE = "<answer>\x1b[2J\x9b31m\u202e\u2028\ud83e\r\tend\nanswered, asked at noon:"
CHAT = ChatRequest("chat-model", (Message("system", "be brief"), Message("user", HOSTILE)), 8)
ECHO = EchoRequest("echo-model", (Message("assistant", "a\t_"),), (2,), ("0",))


async def fill(address: str) -> None:
    asked_at = datetime.now(UTC) - timedelta(days=10)
    async with Ledger(address) as ledger:
        for request, outcome, cost in (
            (CHAT, BadReply(f"HTML {HOSTILE}"), None),
            (CHAT, ChatReply(HOSTILE, "stop", "served", Usage(7, 3, 2)), 0.25),
            (ECHO, EchoReply(((-0.5,),), "served", Usage(9)), None),
        ):
            await ledger.record("p", request, outcome, asked_at=asked_at, seconds=0.5, cost_usd=cost)


@pytest.fixture
def address(tmp_path: Path) -> str:
    path = str(tmp_path / "ledger.sqlite")
    asyncio.run(fill(path))
    return path


@pytest.mark.parametrize("command", ["show", "export", "import", "verify", "prune"])
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: autointerp ledger {command} " in " ".join(out.split())


def test_show_counts_by_model(run: Run, address: str) -> None:
    found = document(run("show", address, "--json"))
    assert (found["answered"], found["failed"]) == (2, 1)
    chat, echo = found["models"]
    assert chat == {
        "provider": "p",
        "model": "chat-model",
        "answered": 1,
        "failed": 1,
        "repeated": 0,
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "cached_prompt_tokens": 2,
        "cost_usd": 0.25,
        "unpriced": 0,
    }
    assert (echo["cost_usd"], echo["unpriced"]) == (None, 1)  # not known is not nothing
    _, out, _ = run("show", address)
    assert [line.split() for line in out.splitlines()[2:]] == [
        ["p", "chat-model", "1", "1", "0", "7", "2", "3", "0.2500", "0"],
        ["p", "echo-model", "1", "0", "0", "9", "0", "0", "–", "1"],
    ]


def test_an_answer_that_came_second_is_shown_and_counted(run: Run, address: str) -> None:
    asyncio.run(fill(address))  # as another process that asked the same
    chat = document(run("show", address, "--json"))["models"][0]
    assert (chat["answered"], chat["failed"], chat["repeated"], chat["cost_usd"]) == (1, 2, 1, 0.5)
    assert (chat["prompt_tokens"], chat["unpriced"]) == (14, 0)
    found = document(run("show", address, "--key", request_key("p", CHAT), "--json"))
    assert [call["status"] for call in found["calls"]] == ["answered", "failed", "failed", "repeated"]
    _, out, _ = run("show", address, "--key", request_key("p", CHAT))
    assert out.count("\nrepeated, asked at ") == 1
    assert document(run("verify", address, "--json"))["calls"] == 6
    assert document(run("prune", address, "--model", "chat-model", "--json"))["repeated"] == 1


def test_one_call_in_full_does_nothing_to_a_terminal(run: Run, address: str) -> None:
    key = request_key("p", CHAT)
    code, out, _ = run("show", address, "--key", key[:12])
    assert code == 0
    assert key in out
    assert all(character.isprintable() or character == "\n" for character in out)
    assert out.count("  | <answer>\\x1b[2J\\x9b31m\\u202e\\u2028\\ud83e\\r\\tend\n  | answered, asked at noon:") == 2
    assert sum(line.startswith(("answered, asked at", "failed, asked at")) for line in out.splitlines()) == 2
    found = document(run("show", address, "--key", key, "--json"))
    assert found["key"] == key
    assert [call["status"] for call in found["calls"]] == ["answered", "failed"]
    whole = HOSTILE.replace("\ud83e", "\ufffd")  # half a pair is no text; `ledger export` has it as it was
    assert found["calls"][0]["request"]["messages"][1]["content"] == whole
    assert found["calls"][0]["reply"]["text"] == whole
    assert found["calls"][1]["error"].startswith("BadReply: HTML <answer>")
    _, out, _ = run("show", address, "--key", request_key("p", ECHO), "--json")
    assert out.isascii()
    assert json.loads(out)["calls"][0]["reply"]["logprobs"] == [[-0.5]]
    assert run("show", address, "--key", request_key("p", ECHO))[0] == 0


def test_a_key_that_fits_none_or_several(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "many.sqlite")

    async def record() -> None:
        async with Ledger(path) as ledger:
            for number in range(17):  # one more than there are first characters
                request = ChatRequest("m", (Message("user", str(number)),), 8)
                await ledger.record("p", request, BadReply("x"), asked_at=datetime.now(UTC), seconds=1)

    asyncio.run(record())
    with closing(sqlite3.connect(path)) as connection:
        keys = [key for [key] in connection.execute("SELECT key FROM calls ORDER BY key")]
    shared = next(one[0] for one, other in pairwise(keys) if one[0] == other[0])
    for prefix, complaint in (
        (shared, "several keys begin so: "),
        ("0" * 64, "no request has a key"),
        ("xyz", "hexadecimal"),
        ("", "hexadecimal"),
        ("AB", "lower case"),
    ):
        code, out, complaints = run("show", path, "--key", prefix)
        assert (code, out, complaints.count("\n")) == (2, "", 1)
        assert complaint in complaints


def test_a_ledger_goes_from_a_file_to_a_server_and_back_to_the_same_bytes(
    run: Run, address: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    url, back = postgres.new_ledger(), tmp_path / "back.sqlite"
    first, second, third = (tmp_path / name for name in ("first.jsonl.gz", "second.jsonl.gz", "third.jsonl.gz"))
    assert document(run("export", address, first, "--json")) == {"path": str(first), "calls": 3}
    assert document(run("import", url, first, "--json")) == {"path": str(first), "new": 3}
    assert document(run("import", url, first, "--json"))["new"] == 0
    run("export", url, second)
    run("import", back, second)
    run("export", back, third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    assert document(run("verify", url, "--json")) == {"ledger": url, "calls": 3, "problems": []}
    assert document(run("show", url, "--json"))["models"] == document(run("show", address, "--json"))["models"]


def test_verify_names_what_is_wrong_and_ends_with_2(run: Run, address: str) -> None:
    code, out, complaints = run("verify", address)
    assert (code, out, complaints) == (0, "3 calls read, 0 found wrong\n", "")
    with closing(sqlite3.connect(address, isolation_level=None)) as connection:
        connection.execute("UPDATE calls SET reply = '\x1b' WHERE model = 'echo-model'")
    code, out, complaints = run("verify", address)
    assert code == 2
    assert out.startswith(f"{request_key('p', ECHO)}: unreadable")
    assert "1 found wrong" in complaints
    assert complaints.count("\n") == 1


def test_prune_says_what_it_would_delete_and_deletes_with_yes(run: Run, address: str) -> None:
    assert run("prune", address)[0] == 2  # everything is not a selection
    assert document(run("prune", address, "--older-than", 11, "--json"))["models"] == []
    code, out, _ = run("prune", address, "--failed")
    assert code == 0
    assert "would be deleted (--yes deletes):" in out
    told = document(run("prune", address, "--failed", "--older-than", 9, "--json"))
    assert (told["deleted"], told["answered"], told["failed"]) == (False, 0, 1)
    assert document(run("show", address, "--json"))["failed"] == 1
    gone = document(run("prune", address, "--failed", "--older-than", 9, "--yes", "--json"))
    assert gone == {**told, "deleted": True}
    assert document(run("show", address, "--json"))["failed"] == 0
    assert document(run("prune", address, "--model", "echo-model", "--yes", "--json"))["answered"] == 1
    assert [model["model"] for model in document(run("show", address, "--json"))["models"]] == ["chat-model"]


def test_a_ledger_that_is_not_there_is_not_made(run: Run, tmp_path: Path) -> None:
    for words in (["show"], ["verify"], ["prune", "--failed"]):
        code, out, complaints = run(words[0], tmp_path / "none.sqlite", *words[1:])
        assert (code, out) == (2, "")
        assert "no such ledger" in complaints
        assert complaints.count("\n") == 1
    assert run("export", tmp_path / "none.sqlite", tmp_path / "export.jsonl")[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_password_in_a_url_is_not_repeated(run: Run) -> None:
    code, out, complaints = run("show", "postgresql://me:planted@host/base")
    assert (code, out) == (2, "")
    assert "PGPASSWORD" in complaints
    assert "planted" not in complaints
