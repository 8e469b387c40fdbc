"""What a job consists of: for each of its presets a method, and groups of units to use it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autointerp import registry
from autointerp.errors import BadJob
from autointerp.jobs.job import Job, PresetSection
from autointerp.jobs.models import Models
from autointerp.jobs.selection import Group, all_firing, groups_of
from autointerp.jobs.stores import Stores
from autointerp.pipeline import Method
from autointerp.presets import Preset
from autointerp.records import ContextStore
from autointerp.seeds import derive
from autointerp.types import UnitId

__all__ = ["Task", "baseline_units", "tasks_of"]


@dataclass(frozen=True, slots=True)
class Task:
    """One preset of a job, ready to run."""

    job: Job
    section: PresetSection
    method: Method
    groups: tuple[Group, ...]

    @property
    def preset(self) -> Preset:
        return self.method.preset

    @property
    def name(self) -> str:
        return self.preset.name

    def on(self, models: Models) -> Task:
        """The same, asking these models. Raises Unsupported where one of them cannot serve."""
        self.method.check(models.explainer, models.simulator, models.scorer)
        if models.simulator is models.scorer:
            return self
        return replace(self, method=_method(self.job, self.preset, models))

    def seed(self, unit: UnitId) -> int:
        """Of everything that is drawn for a unit. Variants of a preset share it, and with it what they ask alike."""
        return derive(self.job.seed, self.section.name, str(unit))


def tasks_of(job: Job, stores: Stores) -> list[Task]:
    """The tasks of a job, one for each preset. Raises BadJob where there is nothing to do, or no model for it."""
    tasks = [_task(job, section, stores) for section in job.presets]
    if not job.asks and any(task.groups for task in tasks):
        raise BadJob("units are to be explained, but the job has no [model]")
    if not any(baseline_units(task, stores) or task.groups for task in tasks):
        raise BadJob("nothing to do: [units] names no unit, and [baselines] asks for none")
    return tasks


def baseline_units(task: Task, stores: Stores) -> Sequence[tuple[ContextStore, UnitId]]:
    """The units whose predictors without an LLM are scored, each with the store it is in."""
    if task.job.baselines.units == "none":
        return []
    units = [(group.store, unit) for group in task.groups for unit in group.units]
    if task.job.baselines.units == "all":
        main = [(stores.main, unit) for kind in stores.main.kinds for unit in all_firing(stores.main, kind)]
        units = main + [(store, unit) for store, unit in units if store is not stores.main]
    return units


def _task(job: Job, section: PresetSection, stores: Stores) -> Task:
    preset: Preset = registry.find("presets", section.name).with_settings(section.settings, section.called)
    groups = tuple(groups_of(job, section, stores.main, stores.control))
    return Task(job, section, _method(job, preset), groups)


def _method(job: Job, preset: Preset, models: Models | None = None) -> Method:
    return Method.of(
        preset,
        resamples=job.statistics.resamples,
        level=job.statistics.level,
        simulator_model=models.simulator if models else None,
    )
