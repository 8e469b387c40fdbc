"""`autointerp ledger batches` and `forget` from the outside."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from ledger_command import Run, document
from support.ledgers import Place
from support.postgres import PostgresServer

from autointerp.protocols import ChatRequest, Message, request_key
from autointerp.providers import Ledger

HOST = socket.gethostname()
HOSTILE = "gone\x1b[2J\u202e\n" + 80 * "x"


@pytest.fixture
def address(place: Place) -> str:
    return place.new()


def requests(first: int, count: int) -> dict[str, ChatRequest]:
    asked = [ChatRequest("m", (Message("user", str(number)),), 8) for number in range(first, first + count)]
    return {request_key("p", request): request for request in asked}


def prepare(address: str, work: Callable[[Ledger], Any]) -> Any:
    async def opened() -> Any:
        async with Ledger(address) as ledger:
            return work(ledger)

    return asyncio.run(opened())


def submitted(vendor_id: str | None, owner: str = "", *, first: int = 0, state: str = "submitted") -> Any:
    """Work on a ledger: a batch of three in this state, whose token it returns."""

    def work(ledger: Ledger) -> str:
        table = ledger.batches
        token = table.register(owner or f"{HOST} 0 x", "p", "m", requests(first, 3)).token
        assert token is not None
        if state == "submitting":
            seen = table.get(token)
            assert seen is not None
            assert table.claim(seen, seen.owner) is not None
        if vendor_id is not None:
            table.submitted(token, vendor_id)
        if state == "done":
            table.finish(token, note=HOSTILE)
        return token

    return work


@pytest.mark.parametrize("command", ["batches", "forget"])
def test_both_have_help_with_an_example(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: autointerp ledger {command} " in " ".join(out.split())


def test_batches_are_listed_oldest_first(run: Run, address: str) -> None:
    assert run("batches", address)[0] == 2  # a ledger that is not there is not made
    prepare(address, lambda ledger: None)
    assert run("batches", address)[1] == f"{address}\nno batches\n"
    tokens = [
        prepare(address, submitted("batch_0", state="done")),
        prepare(address, submitted("batch_1")),
        prepare(address, submitted(None, first=10)),
    ]
    found = document(run("batches", address, "--json"))
    assert found["ledger"] == address
    assert [
        (one["token"], one["provider"], one["model"], one["vendor_id"], one["state"], one["requests"])
        for one in found["batches"]
    ] == [
        (tokens[0], "p", "m", "batch_0", "done", 3),
        (tokens[1], "p", "m", "batch_1", "submitted", 3),
        (tokens[2], "p", "m", None, "intended", 3),
    ]
    assert found["batches"][0]["note"] == HOSTILE
    code, out, _ = run("batches", address)
    assert code == 0
    assert all(character.isprintable() or character == "\n" for character in out)
    header, done, sent, intended = out.splitlines()[1:]
    assert header.split()[:2] == ["token", "provider"]
    created, ended = (found["batches"][0][name][:19].replace("T", " ") for name in ("created_at", "ended_at"))
    assert done.startswith(f"{tokens[0][:8]}  p         m      batch_0    done  ")
    assert created in done
    assert f"{ended}  gone\\x1b[2J\\u202e\\n" in done
    assert sent.split()[:6] == [tokens[1][:8], "p", "m", "batch_1", "submitted", "3"]
    assert intended.split()[3:6] == ["–", "intended", "3"]


def test_forgetting_says_what_it_means_and_frees_the_requests_with_yes(run: Run, address: str) -> None:
    token = prepare(address, submitted("batch_0"))
    code, out, _ = run("forget", address, token[:8])
    assert code == 0
    assert out.startswith(f"would be forgotten (--yes does it): batch {token} (batch_0) of m, submitted; ")
    assert "3 requests that have no answer would be asked, and paid, again" in out
    told = document(run("forget", address, "batch_0", "--json"))
    assert (told["token"], told["state"], told["requests"], told["forgotten"]) == (token, "submitted", 3, False)
    assert prepare(address, lambda ledger: ledger.batches.open("p", "m")) == [token]

    gone = document(run("forget", address, token[:8], "--yes", "--json"))
    assert gone == {**told, "state": "forgotten", "forgotten": True}
    assert document(run("batches", address, "--json"))["batches"][0]["state"] == "forgotten"
    assert document(run("batches", address, "--json"))["batches"][0]["ended_at"] is not None
    assert prepare(address, lambda ledger: ledger.batches.open("p", "m")) == []
    again = prepare(address, lambda ledger: ledger.batches.register("me", "p", "m", requests(0, 3)))
    assert (again.elsewhere, again.token is not None) == ({}, True)
    code, out, complaints = run("forget", address, token, "--yes")
    assert (code, out) == (2, "")
    assert "is forgotten, and nothing waits for it" in complaints


def test_a_name_that_fits_none_or_several(run: Run, address: str) -> None:
    tokens = [prepare(address, submitted(f"batch_1{end}", first=10 * at)) for at, end in enumerate(["", "0", "1"])]
    for name, complaint in (
        ("batch_", f"several batches begin with 'batch_': {tokens[0][:8]} (batch_1), "),
        ("", "no batch has a token or an id that begins with ''"),
        ("none", "ledger batches"),
    ):
        code, out, complaints = run("forget", address, name, "--yes")
        assert (code, out, complaints.count("\n")) == (2, "", 1)
        assert complaint in complaints
    assert document(run("forget", address, "batch_1", "--yes", "--json"))["token"] == tokens[0]  # given whole
    assert document(run("forget", address, "batch_10", "--json"))["token"] == tokens[1]


def test_a_batch_that_is_over_is_not_forgotten(run: Run, address: str) -> None:
    prepare(address, submitted("batch_0", state="done"))
    code, _, complaints = run("forget", address, "batch_0", "--yes")
    assert (code, complaints.count("\n")) == (2, 1)
    assert "is done, and nothing waits for it" in complaints
    assert document(run("batches", address, "--json"))["batches"][0]["note"] == HOSTILE


def test_a_batch_that_a_process_is_submitting_is_left_alone(run: Run, address: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        token = prepare(address, submitted(None, f"{HOST} {process.pid} x", state="submitting"))
        code, out, complaints = run("forget", address, token[:8], "--yes")
        assert (code, out, complaints.count("\n")) == (2, "", 1)
        assert f"is being submitted by process {process.pid} on {HOST}" in complaints
        process.communicate(b"\n")
    assert document(run("forget", address, token[:8], "--yes", "--json"))["forgotten"]  # it has ended


def test_what_happened_meanwhile_goes_before_forgetting(address: str) -> None:
    prepare(address, submitted(None, f"{HOST} {os.getpid()} x"))

    def meanwhile(ledger: Ledger) -> None:
        table = ledger.batches
        [token] = table.open("p", "m")
        seen = table.get(token)
        assert seen is not None
        assert table.claim(seen, "other") is not None
        assert not table.forget(seen)
        seen = table.get(token)
        assert seen is not None
        table.submitted(token, "batch_0")
        assert not table.forget(seen)
        seen = table.get(token)
        assert seen is not None
        assert table.forget(seen)
        assert not table.forget(seen)
        table.submitted(token, "batch_1")  # by who did not know
        assert [row.state for row in table.rows()] == ["forgotten"]
        assert table.vendor_ids() == {"batch_0"}

    prepare(address, meanwhile)


def test_on_a_server_no_password_is_in_what_is_printed(run: Run, postgres: PostgresServer) -> None:
    url = postgres.new_ledger()
    prepare(url, submitted("batch_0"))
    for words in (("batches",), ("forget", "batch_0"), ("forget", "none")):
        _, out, complaints = run(words[0], url, *words[1:])
        assert postgres.password not in out + complaints
