"""Registries' clients are replaced by small scripts on the PATH: what is asked of them, and what the cache does."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from sae.corpus.download import Unavailable, default_cache, fetch
from sae.corpus.recipe import Source
from sae.errors import BadInput


def source(registry: str, package: str) -> Source:
    return Source("s", "d", registry, "text", "MIT", True, package=package)


def client(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of the PATH, with an `npm` that packs a small package and counts its calls."""
    archive = tmp_path / "made.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        files = {"thing/package.json": json.dumps({"version": "1.2.3"}).encode(), "thing/a.txt": b"text"}
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    folder = tmp_path / "bin"
    client(folder, "npm", f'echo "$@" >> {tmp_path}/calls; cp {archive} thing-1.2.3.tgz')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_a_package_is_fetched_once_and_then_read_from_the_cache(bin_folder: Path, tmp_path: Path) -> None:
    wanted, cache = source("npm", "@x/thing@1.2.3"), tmp_path / "cache"
    first = fetch(wanted, cache)
    assert first.version == "1.2.3"
    assert (first.root / "thing" / "a.txt").read_text() == "text"
    assert fetch(wanted, cache) == first
    assert calls(tmp_path) == ["pack --silent @x/thing@1.2.3"]


def test_a_damaged_cache_entry_is_fetched_anew(bin_folder: Path, tmp_path: Path) -> None:
    wanted, cache = source("npm", "thing"), tmp_path / "cache"
    fetch(wanted, cache)
    archive = cache / "npm" / "thing" / "thing-1.2.3.tgz"
    archive.write_bytes(archive.read_bytes()[:-1])
    assert (fetch(wanted, cache).root / "thing" / "a.txt").read_text() == "text"
    (cache / "npm" / "thing" / "record.json").write_text("{")
    fetch(wanted, cache)
    assert len(calls(tmp_path)) == 3


def test_an_interrupted_download_is_no_cache_entry(bin_folder: Path, tmp_path: Path) -> None:
    leftover = tmp_path / "cache" / "npm" / "thing.part"
    leftover.mkdir(parents=True)
    (leftover / "half.tgz").write_bytes(b"half")
    assert fetch(source("npm", "thing"), tmp_path / "cache").version == "1.2.3"
    assert not leftover.exists()


def test_a_client_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="npm is not on this machine"):
        fetch(source("npm", "thing"), tmp_path / "cache")


def test_the_clients_own_words_are_given(bin_folder: Path, tmp_path: Path) -> None:
    client(bin_folder, "npm", 'echo "npm ERROR 404 no such package" >&2; echo "see the log" >&2; exit 1')
    with pytest.raises(Unavailable, match="404 no such package"):
        fetch(source("npm", "thing"), tmp_path / "cache")


def test_what_is_no_archive_is_unavailable(bin_folder: Path, tmp_path: Path) -> None:
    client(bin_folder, "npm", "echo hello > thing.tgz")
    with pytest.raises(Unavailable, match=r"thing\.tgz cannot be unpacked"):
        fetch(source("npm", "thing"), tmp_path / "cache")


def test_package_lists_are_updated_where_a_package_is_not_found(bin_folder: Path, tmp_path: Path) -> None:
    script = (
        f'echo "$@" >> {tmp_path}/apt; '
        f'if [ "$1" = update ]; then touch {tmp_path}/updated; exit 0; fi; '
        f"if [ -e {tmp_path}/updated ]; then echo x > thing_2.0_all.deb; "
        'else echo "E: Unable to locate package thing" >&2; exit 100; fi'
    )
    client(bin_folder, "apt-get", script)
    client(bin_folder, "dpkg", 'mkdir -p "$3/usr"; echo text > "$3/usr/a.txt"')
    client(bin_folder, "dpkg-deb", "echo 2.0")
    package = fetch(source("debian", "thing"), tmp_path / "cache")
    assert package.version == "2.0"
    assert (package.root / "usr" / "a.txt").exists()
    assert (tmp_path / "apt").read_text().splitlines() == ["download thing", "update", "download thing"]


def test_the_standard_library_needs_no_download(tmp_path: Path) -> None:
    package = fetch(Source("s", "d", "python-stdlib", "text", "PSF-2.0", True), tmp_path / "cache")
    assert (package.root / "json" / "decoder.py").is_file()
    assert package.version.count(".") == 2
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written(bin_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="--cache"):
        fetch(source("npm", "thing"), tmp_path / "file")


def test_default_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_cache() == Path("/x/autointerp-corpus")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "autointerp-corpus"
