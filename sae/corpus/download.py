"""Packages of text from the registries that a machine already uses, downloaded and unpacked, never installed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sae.corpus.recipe import Source
from sae.errors import BadInput
from sae.files import checksum


class Unavailable(Exception):
    """A package cannot be had. The message says which and why."""


@dataclass(frozen=True, slots=True)
class Package:
    """An unpacked package: `root` holds its files; `version` is the registry's."""

    root: Path
    version: str


def default_cache() -> Path:
    """`autointerp-corpus` in the user's cache folder (XDG_CACHE_HOME, or ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "autointerp-corpus"


def _run(command: list[str], folder: Path) -> str:
    """Run a registry's client in `folder`; its standard output. Raises Unavailable with the client's last words."""
    if shutil.which(command[0]) is None:
        raise Unavailable(f"{command[0]} is not on this machine")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in words if "error" in line.lower() or line.startswith("E:")]
        raise Unavailable((errors or words or [f"{command[0]} ended with code {done.returncode}"])[-1])
    return done.stdout


_apt_updated = False


def _download_debian(package: str, folder: Path) -> None:
    global _apt_updated  # once a process: the package lists are the machine's, not ours
    try:
        _run(["apt-get", "download", package], folder)
    except Unavailable as error:
        if "nable to locate" not in str(error) or _apt_updated:
            raise
        _apt_updated = True
        try:
            _run(["apt-get", "update"], folder)
        except Unavailable as update_error:
            raise Unavailable(f"{error}, and `apt-get update` failed: {update_error}") from update_error
        _run(["apt-get", "download", package], folder)


def _download_pypi(package: str, folder: Path) -> None:
    _run([sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", package], folder)


def _download_npm(package: str, folder: Path) -> None:
    _run(["npm", "pack", "--silent", package], folder)


def _unpack(archive: Path, into: Path) -> None:
    into.mkdir()
    if archive.suffix == ".deb":
        _run(["dpkg", "-x", str(archive), str(into)], archive.parent)
    elif archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(into)
    else:
        with tarfile.open(archive) as packed:
            packed.extractall(into, filter="data")


def _version(registry: str, archive: Path, unpacked: Path) -> str:
    if registry == "debian":
        return _run(["dpkg-deb", "-f", str(archive), "Version"], archive.parent).strip()
    if registry == "npm":
        abouts = list(unpacked.glob("*/package.json"))  # the top folder is "package", or the package's own name
        if len(abouts) != 1:
            raise Unavailable(f"{archive.name} is not a package of npm: it has no package.json")
        return str(json.loads(abouts[0].read_text())["version"])
    stem = archive.name.removesuffix(".tar.gz").removesuffix(".zip")
    return stem.split("-")[1]  # name-version(-tags): PEP 427 and PEP 625 forbid dashes in the name


_DOWNLOAD = {"debian": _download_debian, "pypi": _download_pypi, "npm": _download_npm}


def _cached(folder: Path) -> Package | None:
    """The package in the cache, if its archive is still what was downloaded."""
    try:
        record = json.loads((folder / "record.json").read_text())
        archive, unpacked = folder / record["archive"], folder / "unpacked"
        if unpacked.is_dir() and checksum(archive) == record["sha256"]:
            return Package(unpacked, record["version"])
    except (OSError, ValueError, KeyError):
        pass  # no record, or a damaged one: the package is fetched anew
    return None


def fetch(source: Source, cache: Path) -> Package:
    """The package of a source, from the cache or its registry. Raises Unavailable."""
    if source.registry == "python-stdlib":
        return Package(Path(sysconfig.get_path("stdlib")), platform.python_version())
    if source.registry == "files":
        return Package(Path(source.package), "")
    folder = cache / source.registry / quote(source.package, safe="@+")
    if package := _cached(folder):
        return package
    work = folder.with_name(folder.name + ".part")
    for leftover in (work, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise BadInput(f"cache {cache}: {error.strerror}; name a folder that can be written with --cache") from error
    _DOWNLOAD[source.registry](source.package, work)
    archives = [p for p in work.iterdir() if p.is_file()]
    if len(archives) != 1:
        raise Unavailable(f"the registry's client left {len(archives)} files instead of one archive")
    archive, unpacked = archives[0], work / "unpacked"
    try:
        _unpack(archive, unpacked)
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise Unavailable(f"{archive.name} cannot be unpacked: {error}") from error
    version = _version(source.registry, archive, unpacked)
    record = {"archive": archive.name, "sha256": checksum(archive), "version": version}
    (work / "record.json").write_text(json.dumps(record))
    work.rename(folder)
    return Package(folder / "unpacked", version)
