"""Published protocols as data: which records, which explainer and simulator, which metric, with the papers' constants.

A preset is a value. Another protocol is another value under the entry point group "autointerp.presets"; nothing in the
program asks for a preset's name. `Preset.with_settings` changes constants by name, and `Preset.changed` says for good
which ones differ from the paper.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from autointerp.errors import BadJob
from autointerp.records import SplitPlan
from autointerp.types import Scale

__all__ = ["OPENAI", "TM", "Preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A protocol.

    source: where its constants are from. splits: which records each split holds. explainer, simulator, scorer: names in
    the registry. scale: levels shown to the explainer and predicted by the simulator; truth stays raw.
    contexts_per_prompt: contexts a simulator predicts in one call. explainer_few_shot, simulator_few_shot: example
    units in the prompts. explainer_max_tokens: room for the reply. metrics: names of `autointerp.scorers.METRICS`, the
    first ranks. sample_sets: names of `autointerp.scorers.SAMPLE_SETS`, the first adds nothing to a scorer's name.
    baselines: predictors without an LLM. explainer_temperature, simulator_temperature: None (in a job: "none") is not
    sent; the simulator's matters only where it generates. minimum_share: least share of contexts whose simulation must
    have succeeded, in (0, 1]. constant_prediction_is_zero: whether a simulator that says the same everywhere scores 0
    (TM) or is Unscored. samples: replies asked for at most, where one cannot be read. original: the paper's preset
    where settings were changed, else None.

    Raises ValueError for a number out of its range.
    """

    name: str
    source: str
    splits: SplitPlan
    explainer: str
    simulator: str
    scale: Scale
    contexts_per_prompt: int
    explainer_few_shot: int
    simulator_few_shot: int
    explainer_max_tokens: int
    metrics: tuple[str, ...]
    sample_sets: tuple[str, ...]
    scorer: str = "simulation"
    baselines: tuple[str, ...] = ("token_lookup", "constant")
    explainer_temperature: float | None = 0.0
    simulator_temperature: float | None = 0.0
    minimum_share: float = 0.8
    constant_prediction_is_zero: bool = False
    samples: int = 1
    original: Preset | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.scale is Scale.RAW:
            raise ValueError("scale: prompts show levels, not raw activations")
        for name in ("contexts_per_prompt", "explainer_max_tokens", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: at least 1")
        for name in ("explainer_few_shot", "simulator_few_shot"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: at least 0")
        if any((temperature or 0) < 0 for temperature in (self.explainer_temperature, self.simulator_temperature)):
            raise ValueError("a temperature is at least 0")
        if not 0 < self.minimum_share <= 1:
            raise ValueError("minimum_share: above 0 and at most 1")
        for name in ("metrics", "sample_sets"):
            if not getattr(self, name):
                raise ValueError(f"{name}: at least one")

    @property
    def primary_metric(self) -> str:
        """The metric by which the protocol ranks."""
        return self.metrics[0]

    def with_settings(self, settings: Mapping[str, Any], label: str | None = None) -> Preset:
        """This protocol with some constants changed: names of `SETTINGS`, `splits` as a table of what differs.

        label: another name for it in the results, so that a run can hold several variants of one protocol.

        Raises BadJob naming the key, and the known ones or the kind of value it takes.
        """
        changes = {key: self._setting(key, value) for key, value in settings.items()}
        try:
            return replace(self, name=label or self.name, **changes, original=self.original or self)
        except ValueError as error:
            raise BadJob(f"preset {self.name}: {error}") from error

    def changed(self) -> dict[str, dict[str, Any]]:
        """Setting -> {"paper": its value there, "used": its value here} for all that differ, as JSON values.

        Of a table only what differs in it, by names such as "splits.window".
        """
        paper = self.original or self
        old = {name: value for key, one in paper.settings().items() for name, value in _leaves(key, one)}
        new = {name: value for key, one in self.settings().items() for name, value in _leaves(key, one)}
        return {
            name: {"paper": old.get(name), "used": new.get(name)}
            for name in sorted(old | new)
            if old.get(name) != new.get(name)
        }

    def settings(self) -> dict[str, Any]:
        """All settings as JSON values."""
        return {name: _plain(getattr(self, name)) for name in SETTINGS}

    def _setting(self, key: str, value: Any) -> Any:
        if key not in SETTINGS:
            raise BadJob(f"preset {self.name}: unknown setting {key!r}: known are {', '.join(SETTINGS)}")
        return self._splits(value) if key == "splits" else self._converted(key, value, SETTINGS[key])

    def _splits(self, table: Any) -> SplitPlan:
        hints = get_type_hints(SplitPlan)
        known = [one.name for one in fields(SplitPlan)]
        if not isinstance(table, Mapping) or not set(table) <= set(known):
            raise BadJob(f"preset {self.name}: splits: a table with keys among {', '.join(known)}")
        changes = {key: self._converted(f"splits.{key}", value, hints[key]) for key, value in table.items()}
        try:
            return replace(self.splits, **changes)
        except ValueError as error:
            raise BadJob(f"preset {self.name}: splits: {error}") from error

    def _converted(self, key: str, value: Any, hint: Any) -> Any:
        """A job file's value as the type of its setting, by JSON's rules: no text for a number, none for a flag.

        TOML has no null: "none" stands for it where a setting may be absent.
        """
        if value == "none" and type(None) in get_args(hint):
            return None
        try:
            return TypeAdapter(hint).validate_json(json.dumps(value, allow_nan=False), strict=True)
        except ValidationError as error:
            raise BadJob(f"preset {self.name}: {key}: {error.errors()[0]['msg']}, not {value!r}") from error
        except (TypeError, ValueError) as error:
            raise BadJob(f"preset {self.name}: {key}: {error}") from error


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything in a table that is not a table; of anything else, itself."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, one in value.items():
        yield from _leaves(f"{name}.{key}", one)


def _plain(value: Any) -> Any:
    """A setting as a JSON value."""
    return json.loads(TypeAdapter(type(value)).dump_json(value))


SETTINGS: Mapping[str, Any] = {
    name: hint for name, hint in get_type_hints(Preset).items() if name not in ("name", "source", "original")
}
"""The settings a job may change, and their types."""

OPENAI = Preset(
    name="openai",
    source="Bills et al., Language models can explain neurons in language models (OpenAI, 2023), and its code",
    splits=SplitPlan(
        window=64,
        explain={"top": 5},
        calibrate={"top": 5, "random": 5},
        score={"top": 5, "random": 5},
        test={"top": 5, "random": 5},
        order="interleaved",
    ),
    explainer="token_activation",
    simulator="all_at_once",
    scale=Scale.LEVELS_10,
    contexts_per_prompt=1,
    explainer_few_shot=3,
    simulator_few_shot=3,
    explainer_max_tokens=60,
    explainer_temperature=1.0,
    metrics=("pearson", "spearman", "corpus_pearson"),
    sample_sets=("top_and_random", "random_only"),
)

TM = Preset(
    name="tm",
    source="Bricken et al., Towards Monosemanticity (Anthropic, 2023), automated interpretability of activations",
    splits=SplitPlan(
        window=9,
        explain={"top": 10, "slices": 2, "random": 5, "out_of_context": 10},
        score={"top": 6, "slices": 2, "random": 10, "out_of_context": 20},
        order="shuffled",
        minimum=20,
    ),
    explainer="interval",
    simulator="all_at_once",
    scale=Scale.LEVELS_9,
    contexts_per_prompt=60,
    explainer_few_shot=8,
    simulator_few_shot=3,
    explainer_max_tokens=300,
    metrics=("spearman", "pearson", "importance_spearman", "importance_pearson", "corpus_pearson"),
    sample_sets=("all",),
    constant_prediction_is_zero=True,
)
