"""Recipes: which sources a corpus is made of. A recipe is a TOML file; nothing about a source is written in code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sae.corpus.extract import EXTRACTORS
from sae.errors import BadInput

REGISTRIES = ("debian", "pypi", "npm", "python-stdlib", "files")
RECIPE_FOLDER = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = RECIPE_FOLDER / "default.toml"


@dataclass(frozen=True, slots=True)
class Source:
    """One source of text.

    `package` is what the registry's own client is asked for (for `files`, a path). `take` and `skip` are globs relative
    to the unpacked package. `licence` is an SPDX expression or a note on where the licence is stated. `max_bytes` caps
    the cleaned text (UTF-8 bytes) that is kept; 0 means all of it.
    """

    name: str
    domain: str
    registry: str
    extractor: str
    licence: str
    redistributable: bool
    package: str = ""
    take: tuple[str, ...] = ("**/*",)
    skip: tuple[str, ...] = ()
    max_bytes: int = 0
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.registry not in REGISTRIES:
            raise BadInput(f"source {self.name!r}: unknown registry {self.registry!r}; one of {', '.join(REGISTRIES)}")
        if self.extractor not in EXTRACTORS:
            raise BadInput(
                f"source {self.name!r}: unknown extractor {self.extractor!r}; one of {', '.join(sorted(EXTRACTORS))}"
            )
        if self.registry != "python-stdlib" and not self.package:
            raise BadInput(f"source {self.name!r}: it names no package")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named list of sources."""

    name: str
    sources: tuple[Source, ...]


_KEYS = {f.name for f in fields(Source)}
_REQUIRED = {"name", "domain", "registry", "extractor", "licence", "redistributable"}


def _source(table: dict[str, Any], where: str) -> Source:
    label = f"{where}: source {table.get('name', '(without a name)')!r}"
    if unknown := sorted(table.keys() - _KEYS):
        raise BadInput(f"{label} has unknown keys: {', '.join(unknown)}; known: {', '.join(sorted(_KEYS))}")
    if missing := sorted(_REQUIRED - table.keys()):
        raise BadInput(f"{label} lacks: {', '.join(missing)}")
    kinds = {"redistributable": bool, "max_bytes": int, "take": list, "skip": list, "options": dict}
    for key, value in table.items():
        kind = kinds.get(key, str)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadInput(f"{label}: {key} must be of type {kind.__name__}, not {value!r}")
    arguments: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
    return Source(**arguments)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises BadInput for a file that is missing, not TOML, or has wrong keys."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"recipe {path}: {error.strerror}; give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"recipe {path} is not valid TOML: {error}") from error
    if unknown := sorted(table.keys() - {"name", "sources"}):
        raise BadInput(f"recipe {path} has unknown keys: {', '.join(unknown)}; known: name, sources")
    name, tables = table.get("name"), table.get("sources", [])
    if not isinstance(name, str) or not name or not isinstance(tables, list) or not tables:
        raise BadInput(f"recipe {path}: it needs a name and at least one [[sources]] table")
    sources = tuple(_source(t, f"recipe {path}") for t in tables)
    names = [s.name for s in sources]
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise BadInput(f"recipe {path}: source names appear twice: {', '.join(repeated)}")
    return Recipe(name, sources)


_SUFFIXES = {".txt": "text", ".jsonl": "jsonl", ".parquet": "parquet"}


def recipe_for_files(paths: list[Path], *, text_field: str, domain: str, licence: str) -> Recipe:
    """The recipe of a person's own files: each .txt, .jsonl or .parquet file, and those in folders, at any depth.

    Raises BadInput for a path that does not exist, a file of another kind, or a folder without any such file.
    """
    sources: list[Source] = []
    for path in paths:
        if path.is_dir():
            suffixes = [s for s in _SUFFIXES if any(path.rglob(f"*{s}"))]
            if not suffixes:
                raise BadInput(f"{path}: no .txt, .jsonl or .parquet file in this folder")
            globs = [(s, f"**/*{s}") for s in suffixes]
        elif path.is_file():
            if path.suffix not in _SUFFIXES:
                raise BadInput(f"{path}: only .txt, .jsonl and .parquet files can be read; convert it to one of these")
            globs = [(path.suffix, path.name)]
        else:
            raise BadInput(f"{path}: no such file or folder")
        for suffix, glob in globs:
            sources.append(
                Source(
                    name=f"{path.name}:{suffix[1:]}:{len(sources)}",
                    domain=domain,
                    registry="files",
                    extractor=_SUFFIXES[suffix],
                    licence=licence,
                    redistributable=False,
                    package=str(path if path.is_dir() else path.parent),
                    take=(glob,),
                    options={} if suffix == ".txt" else {"field": text_field},
                )
            )
    return Recipe("files", tuple(sources))
