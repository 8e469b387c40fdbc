"""A job file: which units, which protocols, which model. Data only; every unknown key is refused by name.

name = "demo"
seed = 0

[store]                              # context stores, relative to the job file
path = "stores/subject"
control = "stores/shuffled"          # the same harvest of the weight-shuffled subject (optional)

[units]                              # a number (a seeded random sample), a list of indices, or "all"
features = 100
neurons = 100
control_features = 50                # units of the control store

[baselines]
units = "all"                        # "all" that fire, "selected" or "none"

[model]
provider = "local"                   # a name from the registry
name = "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M"
concurrency = 4
replay_only = false                  # true: nothing is asked that the ledger does not know
settings = { path = "model.gguf" }   # the provider's own

[ledger]
path = "ledger.sqlite"
imports = ["ledger.jsonl.gz"]

[[presets]]
name = "openai"                      # any other key is a setting of the preset
units = { features = 40 }            # fewer units than [units] names, for a dear protocol (optional)
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from autointerp.errors import BadJob

__all__ = ["Job", "PresetSection", "Selection", "load_job", "save_job"]


def _selection(value: Any) -> Any:
    """What a selection may be, said in one sentence instead of one for each sort that it is not."""
    numbers = value if isinstance(value, list) else [value]
    if value != "all" and not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f'a number, a list of indices, or "all", not {value!r}')
    return value


Selection: TypeAlias = Annotated[int | list[int] | Literal["all"], BeforeValidator(_selection)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StoreSection(_Section):
    """Where the contexts are."""

    path: str
    control: str | None = None
    verify: bool = False  # recompute the checksums before starting


class UnitsSection(_Section):
    """Which units. A number is a seeded random sample of the units that fire."""

    features: Selection = 0
    neurons: Selection = 0
    control_features: Selection = 0
    control_neurons: Selection = 0
    min_density: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of a sample and of "all"; lists are taken as they are


class BaselinesSection(_Section):
    """For which units the predictors without an LLM are computed."""

    units: Literal["all", "selected", "none"] = "selected"


class ModelSection(_Section):
    """The LLM that explains and simulates."""

    provider: str
    name: str
    concurrency: Annotated[int, Field(ge=1)] = 8
    replay_only: bool = False
    settings: dict[str, Any] = {}


class LedgerSection(_Section):
    """Where calls are recorded, and recordings that are known beforehand."""

    path: str = "ledger.sqlite"
    imports: list[str] = []


class StatisticsSection(_Section):
    """How intervals are made."""

    resamples: Annotated[int, Field(ge=100)] = 1000
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class PresetUnits(_Section):
    """At most so many units of each sort for one preset; None takes all that [units] selected."""

    features: Annotated[int, Field(ge=0)] | None = None
    neurons: Annotated[int, Field(ge=0)] | None = None
    control_features: Annotated[int, Field(ge=0)] | None = None
    control_neurons: Annotated[int, Field(ge=0)] | None = None


class PresetSection(BaseModel):
    """A published protocol by name; every further key changes one of its constants."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str
    units: PresetUnits = PresetUnits()
    controls: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Job(_Section):
    """A whole job. Paths are relative to the folder of the file it was read from."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 0
    store: StoreSection
    units: UnitsSection = UnitsSection()
    baselines: BaselinesSection = BaselinesSection()
    model: ModelSection | None = None
    ledger: LedgerSection = LedgerSection()
    statistics: StatisticsSection = StatisticsSection()
    presets: Annotated[list[PresetSection], Field(min_length=1)]

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[\w][\w .+-]*", name):
            raise ValueError(f"letters, digits, spaces and . + - _, as the run's folder has this name, not {name!r}")
        return name

    @model_validator(mode="after")
    def _presets_differ(self) -> Job:
        seen = [preset.name for preset in self.presets]
        if len(set(seen)) != len(seen):
            raise ValueError("each preset may appear once in a job")
        return self


def _complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the job"
    said = first["msg"].removeprefix("Value error, ")
    what = {"extra_forbidden": "unknown key", "missing": "missing key"}.get(first["type"], said)
    return f"{where}: {what}"


def load_job(path: Path) -> Job:
    """Reads a job file. Raises BadJob with one line that names the file, the key and what is wrong with it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadJob(f"{path}: no such job file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadJob(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise BadJob(f"{path}: not valid TOML ({error})") from error
    try:
        return Job.model_validate(data)
    except ValidationError as error:
        raise BadJob(f"{path}: {_complaint(error)}") from error


def _moved(path: str, old: Path, new: Path) -> str:
    """The same file, named from another folder; absolute paths stay as they were given."""
    return path if Path(path).is_absolute() else Path(os.path.relpath(old / path, new)).as_posix()


def save_job(job: Job, source: Path, folder: Path) -> Path:
    """Writes job.toml into a run's folder, its paths rewritten so that they mean the same files from there."""

    def move(path: str) -> str:
        return _moved(path, source.resolve(), folder.resolve())

    data = job.model_dump(exclude_defaults=True, exclude_none=True)
    data["store"]["path"] = move(job.store.path)
    if job.store.control is not None:
        data["store"]["control"] = move(job.store.control)
    data["ledger"] = {"path": move(job.ledger.path), "imports": [move(path) for path in job.ledger.imports]}
    if job.model is not None and isinstance(job.model.settings.get("path"), str):
        data["model"]["settings"]["path"] = move(job.model.settings["path"])
    path = folder / "job.toml"
    path.write_text(tomli_w.dumps(data), encoding="utf-8")
    return path
