"""What a file can suffer: each is one clear line, and nothing is lost that was reported recorded."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from provider_samples import NOON, chat_reply, chat_request
from support.ledgers import acknowledged, standing, start, writer

from autointerp.errors import LedgerError
from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger


async def record(ledger: Ledger, text: str, words: str = "hi") -> None:
    await ledger.record("p", chat_request(text), chat_reply(words), asked_at=NOON, seconds=0.5)


async def fill(ledger: Ledger, recorded: list[str], words: str) -> None:
    """Records until that fails, and remembers the keys of what was recorded."""
    for number in range(1000):
        await record(ledger, str(number), words)
        recorded.append(request_key("p", chat_request(str(number))))


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


def test_an_address_that_is_no_file_and_no_postgresql() -> None:
    with pytest.raises(LedgerError, match="a ledger is a file or postgresql://"):
        Ledger("mysql://host/database")


async def test_a_corrupt_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with Ledger(path) as ledger:
        for number in range(50):
            await record(ledger, str(number) * 300)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="corrupt"):
        async with Ledger(path) as ledger:
            ledger.get(request_key("p", chat_request("1")))


async def test_a_damaged_page_is_found_by_verify(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with Ledger(path) as ledger:
        for number in range(200):
            await record(ledger, str(number) * 300)
        assert ledger.verify() == []
    with closing(sqlite3.connect(path)) as other:
        [[page]] = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'one_record'").fetchall()
        [[size]] = other.execute("PRAGMA page_size").fetchall()
    content = bytearray(path.read_bytes())
    content[page * size - 600 : page * size] = b"\xa5" * 600
    path.write_bytes(content)
    async with Ledger(path) as ledger:
        try:
            problems = ledger.verify()
        except LedgerError as error:  # where the page cannot be read at all
            problems = [str(error)]
        assert problems


def test_folders_that_cannot_hold_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing" / "ledger.sqlite", tmp_path / "file" / "ledger.sqlite", tmp_path):
        assert "cannot be opened" in opening(path)


@contextmanager
def ordinary_user() -> Iterator[Path]:
    """A folder of a user who may not write everywhere, as who the block runs."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="ledger-") as name:
        folder = Path(name)
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o700)


async def test_a_read_only_folder_and_a_read_only_file() -> None:
    with ordinary_user() as folder:
        path = folder / "ledger.sqlite"
        folder.chmod(0o500)
        assert "cannot be opened" in opening(path)
        folder.chmod(0o700)
        async with Ledger(path) as ledger:
            await record(ledger, "kept")
        folder.chmod(0o500)
        assert "may not be written" in opening(path)
        folder.chmod(0o700)
        path.chmod(0o400)
        with pytest.raises(LedgerError, match="may not be written"):
            async with Ledger(path) as ledger:
                await record(ledger, "new")
        path.chmod(0o600)
        async with Ledger(path) as ledger:
            assert ledger.get(request_key("p", chat_request("kept"))) == chat_reply()


async def test_a_ledger_that_another_process_holds(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "ledger.sqlite", wait_s=0.05) as ledger:
        await record(ledger, "known")
        with closing(sqlite3.connect(ledger.name, isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            with pytest.raises(LedgerError, match="locked by another process") as caught:
                await record(ledger, "new")
            assert "\n" not in str(caught.value)
            with pytest.raises(LedgerError, match="locked by another process"):
                ledger.check_writable()
            assert ledger.get(request_key("p", chat_request("known"))) == chat_reply()
        ledger.check_writable()
        await record(ledger, "new")  # the same ledger goes on
        assert ledger.get(request_key("p", chat_request("new"))) == chat_reply()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system of one megabyte")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_loses_nothing_and_the_same_ledger_goes_on_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 500_000)
    recorded: list[str] = []
    async with Ledger(small_disk / "ledger.sqlite") as ledger:
        with pytest.raises(LedgerError, match="the disk is full") as caught:
            await fill(ledger, recorded, "x" * 5000)
        assert "\n" not in str(caught.value)
        assert len(recorded) > 10
        assert all(ledger.get(key) == chat_reply("x" * 5000) for key in recorded)
        ballast.unlink()
        await record(ledger, "when there is room")
        recorded.append(request_key("p", chat_request("when there is room")))
    async with Ledger(small_disk / "ledger.sqlite") as ledger:
        assert all(ledger.get(key) for key in recorded)
        assert ledger.verify() == []


async def test_a_ledger_on_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"\0" * 1_048_576)
    assert "full" in opening(small_disk / "ledger.sqlite")


async def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The limit of a shell or of a service, RLIMIT_FSIZE."""
    path = tmp_path / "ledger.sqlite"
    process = writer(str(path), "word", 0, 100_000, size=2000)
    start(process, limit="400000")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 7
    assert errors.count("\n") == 1
    assert "cannot be read or written (is the disk full or gone?)" in errors
    told = acknowledged(output)
    assert len(told) > 10
    assert told.items() <= (await standing(str(path))).items()


async def test_a_process_in_the_middle_of_an_export_sees_one_moment(tmp_path: Path) -> None:
    async with Ledger(tmp_path / "ledger.sqlite") as ledger, Ledger(tmp_path / "ledger.sqlite") as other:
        await asyncio.gather(*(record(ledger, str(number)) for number in range(20)))
        rows = ledger.rows()
        next(rows)
        await record(other, "meanwhile")
        assert len(list(rows)) == 19
