"""Where prompt files are, what they hash to, and which of them may no longer be edited.

A prompt file is named `<id>.v<version>.<toml|json>` below the folder `prompts/`; its reference is `<id>@<version>`.
`prompts/RELEASED.json` maps the reference of every released file to the SHA-256 of its bytes. A released file is never
edited: a better wording is a new version, so that two runs with the same reference were asked in the same words.

Another package ships its prompts in its own folder `prompts/`, a folder of package data beside its `__init__.py`; their
references begin with the package's name: `my_package:<id>@<version>`. A list of released files is its own choice there.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from autointerp.errors import BadTemplate

__all__ = ["SUFFIXES", "PromptFile", "prompts_folder", "read_prompt_file", "references", "released"]

SUFFIXES = ("toml", "json")
_REFERENCE = re.compile(
    r"(?:(?P<package>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):)?(?P<id>[a-z0-9_]+(?:/[a-z0-9_]+)*)@(?P<version>[1-9][0-9]*)",
    re.ASCII,
)
_FILE_NAME = re.compile(r"(?P<name>[a-z0-9_]+)\.v(?P<version>[1-9][0-9]*)\.(?:toml|json)")


class PromptFile:
    """The bytes of one prompt file, with the reference and hash that name them."""

    __slots__ = ("content", "reference", "sha256")

    def __init__(self, reference: str, content: bytes) -> None:
        self.reference = reference
        self.content = content
        self.sha256 = hashlib.sha256(content).hexdigest()

    @property
    def text(self) -> str:
        """The file as text. Raises BadTemplate where it is not UTF-8."""
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadTemplate(f"prompt {self.reference} is not UTF-8 ({error})") from error


@cache
def prompts_folder() -> Traversable:
    """The folder of prompts: inside the installed package, or beside the package in a checkout.

    Raises BadTemplate where neither is there.
    """
    installed = resources.files("autointerp").joinpath("_prompts")
    if installed.is_dir():
        return installed
    checkout = Path(__file__).resolve().parents[2] / "prompts"
    if checkout.is_dir():
        return checkout
    raise BadTemplate("the folder of prompts is missing: install the package again")


def _folder_of(package: str) -> Traversable:
    """The folder of prompts of another package. Raises BadTemplate where there is no such package or folder."""
    try:
        folder = resources.files(package).joinpath("prompts")
    except (ImportError, TypeError) as error:  # TypeError: a module that is no package
        raise BadTemplate(f"prompts of the package {package}: it cannot be imported ({error})") from error
    if not folder.is_dir():
        raise BadTemplate(f"prompts of the package {package}: it has no folder `prompts` (ship it as package data)")
    return folder


def references(folder: Traversable, prefix: str = "") -> tuple[str, ...]:
    """The references of all prompt files below `folder`, sorted."""
    found: list[str] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += references(entry, f"{prefix}{entry.name}/")
        elif match := _FILE_NAME.fullmatch(entry.name):
            found.append(f"{prefix}{match['name']}@{match['version']}")
    return tuple(sorted(found))


def released(folder: Traversable) -> dict[str, str]:
    """Reference (without a package) -> SHA-256 (hex) of every released prompt file.

    Raises BadTemplate where the list cannot be read.
    """
    try:
        table: Any = json.loads(folder.joinpath("RELEASED.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadTemplate(f"prompts/RELEASED.json cannot be read ({error})") from error
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise BadTemplate("prompts/RELEASED.json must map references to SHA-256 sums")
    return table


def read_prompt_file(reference: str, folder: Traversable | None = None) -> PromptFile:
    """The prompt file of a reference such as "token_activation/explain@1" or "my_package:judge@1".

    folder: instead of the project's own prompts; a package's are where the package is. Raises BadTemplate where the
    file is missing, or differs from the sum under which it was released.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise BadTemplate(
            f"not a prompt's reference: {reference!r} (expected something like 'simulate/json@1', or "
            "'my_package:judge@1' for a prompt of another package)"
        )
    package = match["package"]
    place = _folder_of(package) if package else prompts_folder() if folder is None else folder
    listed = released(place) if not package or place.joinpath("RELEASED.json").is_file() else {}
    for suffix in SUFFIXES:
        path = place.joinpath(*f"{match['id']}.v{match['version']}.{suffix}".split("/"))
        if path.is_file():
            file = PromptFile(reference, path.read_bytes())
            if listed.get(reference.rpartition(":")[2], file.sha256) != file.sha256:
                raise BadTemplate(f"prompt {reference} was edited after its release: restore it, or add a new version")
            return file
    prefix = f"{package}:" if package else ""
    raise BadTemplate(f"no prompt {reference}: known are {', '.join(prefix + one for one in references(place))}")
