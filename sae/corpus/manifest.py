"""The corpus folder: its manifest, and its writing as a whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sae.corpus.pack import file_table
from sae.errors import BadInput
from sae.files import render_json, write_atomically

FORMAT = "sae-corpus"
VERSION = 1
SPLITS = ("train", "validation", "heldout")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A sibling of `out` to write in; it takes the name `out` when the block ends well and is removed when it does not.

    What a killed run left there is removed first. Raises BadInput if `out` exists or its parent cannot be written.
    """
    if out.exists():
        raise BadInput(f"{out} exists already; name another folder with --out, or remove it first")
    work = out.with_name(f"{out.name}.part")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    except OSError as error:
        raise BadInput(f"{out}: {error.strerror}; name a folder that can be written with --out") from error
    try:
        yield work
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Complete a manifest with format, version and the table of files, write it last, and return it whole."""
    whole = {"format": FORMAT, "version": VERSION, **manifest, "files": file_table(folder)}
    write_atomically(folder / "manifest.json", render_json(whole, indent=1))
    return whole
