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
min_density = 5e-5                   # of a sample and of "all": only units that fire on at least this share of tokens
max_density = 0.01                   # and on at most this share (both optional)

[baselines]
units = "all"                        # "all" that fire, "selected" or "none"

[model]
provider = "local"                   # a name from the registry
name = "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M"
concurrency = 4                      # calls open at once, at most; fewer when the server is overloaded
min_concurrency = 1                  # but never fewer than this
                                     # (models of one key together: the largest `concurrency` among them)
requests_per_minute = 500            # this model's own, whatever else is asked under the key (optional; without, the
tokens_per_minute = 200000           # server's refusals alone pace); if the vendor counts models together, a share each
max_wait_s = 900                     # waiting of one request, in all, for a server that says "later"; then Unscored
replay_only = false                  # true: nothing is asked that the ledger does not know
batch = false                        # true: by the vendor's batch API, at half the price and within a day, not an hour
batch_size = 10000                   # requests in a batch, at most
batch_poll_s = 60                    # between two looks at a batch, at most
max_wait_h = 48                      # waiting of one request for its batches; then Unscored, until a later run
settings = { path = "model.gguf" }   # the provider's own

[model.price]                        # USD per million tokens, where the list of genai-prices has none, or another
input_per_million = 0.4
output_per_million = 1.6
cached_input_per_million = 0.1       # read from the vendor's cache, and written to it; without, as all input
cache_write_per_million = 0.5
batch_factor = 0.5                   # what a batch costs of that; without, nothing is known of batches

[explainer_model]                    # another model for one part, with the same keys as [model] (each optional):
provider = "openai"                  # explainer_model explains, simulator_model simulates,
name = "gpt-4.1"                     # scorer_model serves scorers that ask an LLM themselves

[budget]
max_cost_usd = 5.0                   # a run stops before it would spend more; run --max-cost goes before it (optional)

[ledger]
path = "ledger.sqlite"               # or: url = "postgresql://USER@HOST/DATABASE", its password in the environment:
imports = ["ledger.jsonl.gz"]         #     PGPASSWORD, or the variable that password_variable names
wait_s = 10                          # how long to wait for another process that holds it

[[presets]]
name = "openai"                      # any other key is a setting of the preset
label = "openai_json"                # what it is called in the results; tells variants of one preset apart (optional)
units = { features = 40 }            # fewer units than [units] names, for a dear protocol (optional)
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from autointerp.errors import BadJob, LedgerError
from autointerp.providers import postgres_url

__all__ = ["PARTS", "Job", "ModelSection", "PresetSection", "PriceSection", "Selection", "load_job", "save_job"]


def _selection(value: Any) -> Any:
    """What a selection may be, said in one sentence instead of one for each sort that it is not."""
    numbers = value if isinstance(value, list) else [value]
    if value != "all" and not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f'a number, a list of indices, or "all", not {value!r}')
    return value


Selection: TypeAlias = Annotated[int | list[int] | Literal["all"], BeforeValidator(_selection)]


class _Section(BaseModel):
    # The input is not repeated in errors: a ledger's URL that is refused may hold a password.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


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
    # Of a sample and of "all"; lists are taken as they are.
    min_density: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_density: Annotated[float, Field(ge=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _densities_in_order(self) -> UnitsSection:
        if self.min_density > self.max_density:
            raise ValueError(f"min_density = {self.min_density:g} is above max_density = {self.max_density:g}")
        return self


class BaselinesSection(_Section):
    """For which units the predictors without an LLM are computed."""

    units: Literal["all", "selected", "none"] = "selected"


_Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PriceSection(_Section):
    """What a model costs, in USD per million tokens (see `autointerp.providers.GivenPrice`)."""

    input_per_million: _Usd
    output_per_million: _Usd
    cached_input_per_million: _Usd | None = None
    cache_write_per_million: _Usd | None = None
    batch_factor: Annotated[float, Field(gt=0, le=1)] | None = None


class BudgetSection(_Section):
    """What one run may spend: not what earlier runs of the job have spent."""

    max_cost_usd: _Usd | None = None


class ModelSection(_Section):
    """An LLM: the one that explains and simulates, or that of one part."""

    provider: str
    name: str
    concurrency: Annotated[int, Field(ge=1)] = 8
    min_concurrency: Annotated[int, Field(ge=1)] = 1
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    max_wait_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 900.0
    replay_only: bool = False
    batch: bool = False
    batch_size: Annotated[int, Field(ge=1)] = 10_000
    batch_poll_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    max_wait_h: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 48.0
    price: PriceSection | None = None
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _bounds_in_order(self) -> ModelSection:
        if self.min_concurrency > self.concurrency:
            raise ValueError(f"min_concurrency = {self.min_concurrency} is above concurrency = {self.concurrency}")
        return self


class LedgerSection(_Section):
    """Where calls are recorded (a file, or a PostgreSQL database), and recordings that are known beforehand."""

    path: str = "ledger.sqlite"
    url: str | None = None
    password_variable: str | None = None  # the environment variable with the password; None: PGPASSWORD
    imports: list[str] = []
    wait_s: Annotated[float, Field(gt=0, le=3600)] = 10.0

    @field_validator("url")
    @classmethod
    def _names_a_database(cls, url: str | None) -> str | None:
        try:
            if url is not None:
                postgres_url(url)
        except LedgerError as error:
            raise ValueError(str(error)) from error
        return url

    @model_validator(mode="after")
    def _one_place(self) -> LedgerSection:
        if "://" in self.path:
            raise ValueError("path is a URL: name it as url")
        if self.url is not None and "path" in self.model_fields_set:
            raise ValueError("give a path or a url, not both")
        if self.url is None and self.password_variable is not None:
            raise ValueError("password_variable goes with a url")
        return self


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
    label: str | None = None
    units: PresetUnits = PresetUnits()
    controls: bool = True

    @field_validator("label")
    @classmethod
    def _names_scorers(cls, label: str | None) -> str | None:
        if label is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", label):
            raise ValueError(f"letters, digits, - and _, as the scorers are named after it, not {label!r}")
        return label

    @property
    def called(self) -> str:
        """The preset's name in the results."""
        return self.label or self.name

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


PARTS = ("explainer", "simulator", "scorer")
"""The parts of the method that may ask models of their own."""


class Job(_Section):
    """A whole job. Paths are relative to the folder of the file it was read from."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 0
    store: StoreSection
    units: UnitsSection = UnitsSection()
    baselines: BaselinesSection = BaselinesSection()
    model: ModelSection | None = None
    explainer_model: ModelSection | None = None
    simulator_model: ModelSection | None = None
    scorer_model: ModelSection | None = None
    ledger: LedgerSection = LedgerSection()
    budget: BudgetSection = BudgetSection()
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
        seen = [preset.called for preset in self.presets]
        if len(set(seen)) != len(seen):
            raise ValueError("each preset may appear once in a job: give variants of one a label each")
        return self

    @model_validator(mode="after")
    def _every_part_has_a_model(self) -> Job:
        own = [part for part in PARTS if getattr(self, f"{part}_model") is not None]
        if own and self.model is None and len(own) < len(PARTS):
            raise ValueError(f"{own[0]}_model is named, but no [model] for the other parts")
        return self

    @property
    def asks(self) -> bool:
        """Whether the job names a model at all."""
        return self.model is not None or self.explainer_model is not None

    def model_of(self, part: str) -> ModelSection:
        """The model of one of `PARTS`: its own, else the job's. Raises BadJob where the job names none."""
        section: ModelSection | None = getattr(self, f"{part}_model") or self.model
        if section is None:
            raise BadJob("units are to be explained, but the job has no [model]")
        return section


def _complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the job"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key: known are {', '.join(sorted(_section_at(first['loc'][:-1]).model_fields))}"
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {'missing key' if first['type'] == 'missing' else said}"


def _section_at(path: tuple[int | str, ...]) -> type[BaseModel]:
    """The class of the section that a path of keys and places leads to."""
    section: type[BaseModel] = Job
    for part in path:
        if isinstance(part, str):
            section = next(_sections_in(section.model_fields[part].annotation))
    return section


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_in(argument)


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
    place = {} if job.ledger.url is not None else {"path": move(job.ledger.path)}
    imports = [move(path) for path in job.ledger.imports]
    data["ledger"] = {**data.get("ledger", {}), **place, "imports": imports}
    for section in ("model", *(f"{part}_model" for part in PARTS)):
        model: ModelSection | None = getattr(job, section)
        if model is not None and isinstance(model.settings.get("path"), str):
            data[section]["settings"]["path"] = move(model.settings["path"])
    path = folder / "job.toml"
    path.write_text(tomli_w.dumps(data), encoding="utf-8")
    return path
