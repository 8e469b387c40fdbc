"""Running a job on this machine: baselines, explanations, judgements, controls, then the run's folder.

What an LLM was asked is in the ledger as soon as it answered, so a job that is interrupted goes on from there: the same
command replays what is known and asks only for the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from autointerp import registry
from autointerp.controls import other_explanation
from autointerp.errors import BadJob
from autointerp.jobs.job import Job, PresetSection, save_job
from autointerp.jobs.models import account, note, opened_model, paused
from autointerp.jobs.progress import Advance, Start, phases
from autointerp.jobs.selection import Group, all_firing, groups_of
from autointerp.pipeline import Method, baselines, explain, judge, not_split
from autointerp.presets import Preset
from autointerp.prompting import all_of
from autointerp.protocols import Judgement, LanguageModel
from autointerp.providers import LedgeredModel
from autointerp.records import ContextStore, split_unit
from autointerp.results import Finished, Measured, RunWriter, detail, prepare_folder
from autointerp.seeds import derive
from autointerp.types import Explanation, Role, UnitId, UnitRecord, Unscored

__all__ = ["run_job"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Collected:
    """Takes what a job finds to the run's folder."""

    writer: RunWriter

    def add(self, judgement: Judgement, store: ContextStore) -> None:
        seen: set[str] = set()
        for score in judgement.scores:
            density = store.statistics(score.unit).density
            self.writer.add(Measured(score, density, score.scorer not in seen, store.control))
            seen.add(score.scorer)


@dataclass(frozen=True, slots=True)
class _Stores:
    main: ContextStore
    control: ContextStore | None

    @classmethod
    def of(cls, job: Job, base: Path) -> _Stores:
        main = ContextStore.open(base / job.store.path, verify=job.store.verify)
        if main.control is not None:
            raise BadJob(f"store.path is a control ({main.control}): name it as store.control")
        if job.store.control is None:
            return cls(main, None)
        control = ContextStore.open(base / job.store.control, verify=job.store.verify)
        if control.control is None:
            raise BadJob(
                f"store.control ({job.store.control}) is not a control: it was harvested from the subject itself"
            )
        return cls(main, control)

    def all(self) -> list[ContextStore]:
        return [self.main] if self.control is None else [self.main, self.control]


@dataclass(frozen=True, slots=True)
class _Task:
    """One preset of a job, ready to run."""

    section: PresetSection
    method: Method
    groups: tuple[Group, ...]

    @property
    def preset(self) -> Preset:
        return self.method.preset


def run_job(job: Job, base: Path, folder: Path) -> Path:
    """Runs a job whose paths are relative to `base`, writes the run's folder (autointerp.results) and returns it.

    Raises BadJob and BadStore before anything is asked of a model; ProviderRefused and Unsupported stop the job.
    """
    stores = _Stores.of(job, base)
    tasks = [_task(job, section, stores) for section in job.presets]
    if job.model is None and any(task.groups for task in tasks):
        raise BadJob("units are to be explained, but the job has no [model]")
    if not any(_baseline_units(job, task, stores) or task.groups for task in tasks):
        raise BadJob("nothing to do: [units] names no unit, and [baselines] asks for none")
    prepare_folder(folder)
    with RunWriter(folder) as writer:
        with phases() as start:
            asked = asyncio.run(_run_tasks(job, base, tasks, stores, _Collected(writer), start))
        save_job(job, base, folder)
        presets = [task.preset for task in tasks]
        writer.finish(Finished(job.model_dump(mode="json"), presets, stores.all(), asked))
    return folder


def _task(job: Job, section: PresetSection, stores: _Stores) -> _Task:
    preset: Preset = registry.find("presets", section.name).with_settings(section.settings)
    method = Method.of(preset, resamples=job.statistics.resamples, level=job.statistics.level)
    return _Task(section, method, tuple(groups_of(job, section, stores.main, stores.control)))


# Baselines: no LLM, so they can afford every unit that fires.


def _baseline_units(job: Job, task: _Task, stores: _Stores) -> list[tuple[ContextStore, UnitId]]:
    if job.baselines.units == "none":
        return []
    units = [(group.store, unit) for group in task.groups for unit in group.units]
    if job.baselines.units == "all":
        main = [(stores.main, unit) for kind in stores.main.kinds for unit in all_firing(stores.main, kind)]
        units = main + [(store, unit) for store, unit in units if store is not stores.main]
    return units


def _run_all_baselines(job: Job, tasks: Sequence[_Task], stores: _Stores, collected: _Collected, start: Start) -> None:
    for task in tasks:
        _run_baselines(job, task, stores, collected, start)


def _run_baselines(job: Job, task: _Task, stores: _Stores, collected: _Collected, start: Start) -> None:
    units = _baseline_units(job, task, stores)
    if not units:
        return
    advance = start(f"{task.preset.name}: baselines", len(units))
    for store, unit in units:
        record = split_unit(store, unit, task.preset.splits, job.seed)
        found = (
            not_split(task.method, unit, record, Role.BASELINE)
            if isinstance(record, Unscored)
            else baselines(task.method, record, _seed(job, task, unit))
        )
        for judgement in found:
            collected.add(judgement, store)
        advance("")


def _seed(job: Job, task: _Task, unit: UnitId) -> int:
    return derive(job.seed, task.preset.name, str(unit))


# The LLM's part.


async def _run_tasks(
    job: Job, base: Path, tasks: Sequence[_Task], stores: _Stores, collected: _Collected, start: Start
) -> dict[str, Any]:
    """Runs the baselines, then every preset on the model, and returns what was asked of it.

    The model is opened first: what is wrong with its provider, ledger or recordings is said before minutes are spent.
    """
    if job.model is None or not any(task.groups for task in tasks):
        _run_all_baselines(job, tasks, stores, collected, start)
        return {}
    async with opened_model(job, base) as model:
        for task in tasks:
            task.method.check(model)
        _run_all_baselines(job, tasks, stores, collected, start)
        for task in tasks:
            for group in task.groups:
                await _run_group(job, task, group, model, collected, start)
        return account(model)


async def _run_group(
    job: Job, task: _Task, group: Group, model: LedgeredModel, collected: _Collected, start: Start
) -> None:
    name = f"{task.preset.name}: {'control ' if group.role is Role.SHUFFLED_WEIGHTS else ''}{group.kind.value}s"
    records = {unit: split_unit(group.store, unit, task.preset.splits, job.seed) for unit in group.units}
    usable = {unit: record for unit, record in records.items() if isinstance(record, UnitRecord)}
    for unit, record in records.items():
        if isinstance(record, Unscored):
            for judgement in not_split(task.method, unit, record, group.role):
                collected.add(judgement, group.store)
    state = partial(paused, model)
    explanations = await _explain_all(job, task, usable, model, start(f"{name}, explaining", len(usable), state))
    advance = start(f"{name}, simulating", len(usable), state)

    async def judge_one(record: UnitRecord) -> list[tuple[Judgement, dict[str, Any]]]:
        found = await _judge_one(job, task, group, record, explanations, model)
        advance(note(model))
        return found

    width = 2 * (job.model.concurrency if job.model else 1)
    for done in await _each(judge_one, usable.values(), width):
        for judgement, line in done:
            collected.add(judgement, group.store)
            collected.writer.add_detail(line)


async def _explain_all(
    job: Job, task: _Task, records: dict[UnitId, UnitRecord], model: LedgeredModel, advance: Advance
) -> dict[UnitId, Explanation | Unscored]:
    async def explain_one(record: UnitRecord) -> Explanation | Unscored:
        told = await explain(task.method, record, model, _seed(job, task, record.unit))
        advance(note(model))
        return told

    width = 2 * (job.model.concurrency if job.model else 1)
    return dict(zip(records, await _each(explain_one, records.values(), width), strict=True))


async def _judge_one(
    job: Job,
    task: _Task,
    group: Group,
    record: UnitRecord,
    explanations: dict[UnitId, Explanation | Unscored],
    model: LanguageModel,
) -> list[tuple[Judgement, dict[str, Any]]]:
    """The unit's own explanation and, where controls are asked for, another unit's, through the same path."""
    seed = _seed(job, task, record.unit)
    told = {group.role: explanations[record.unit]}
    if task.section.controls and group.role is Role.EXPLANATION:
        told[Role.OTHER_EXPLANATION] = other_explanation(record.unit, explanations, job.seed)
    found = []
    for role, explanation in told.items():
        judgement = await judge(task.method, record, explanation, role, model, seed)
        found.append((judgement, detail(record, task.preset.name, role, explanation, judgement.simulations)))
    return found


async def _each(work: Callable[[Any], Awaitable[T]], items: Iterable[Any], width: int) -> list[T]:
    """The results of `work` on every item, in order, at most `width` under way. The first error cancels the rest."""
    gate = asyncio.Semaphore(width)

    async def one(item: Any) -> T:
        async with gate:
            return await work(item)

    return await all_of(one(item) for item in items)
