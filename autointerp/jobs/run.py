"""Running a job on this machine: baselines, explanations, judgements, controls, then the run's folder.

What an LLM was asked is in the ledger as soon as it answered, so a job that is interrupted goes on from there: the same
command replays what is known and asks only for the rest. Nothing of a unit is kept once it is done, except the
explanations that are lent to others.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from autointerp.controls import Lenders, lenders
from autointerp.jobs.job import Job, save_job
from autointerp.jobs.models import Models, account, batched, note, opened_models, state
from autointerp.jobs.plan_and_run import rough_plan
from autointerp.jobs.progress import Start, phases
from autointerp.jobs.selection import Group
from autointerp.jobs.stores import Stores
from autointerp.jobs.tasks import Task, baseline_units, tasks_of
from autointerp.pipeline import baselines, explain, judge, not_split
from autointerp.prompting import all_of
from autointerp.protocols import Judgement
from autointerp.providers import Budget, LedgeredModel
from autointerp.records import ContextStore, split_unit
from autointerp.results import Finished, Measured, RunWriter, detail, prepare_folder
from autointerp.types import Explanation, Role, Scored, UnitId, UnitRecord, Unscored

__all__ = ["UNITS_PER_CALL", "run_job", "run_to_summary"]

T = TypeVar("T")

_IN_BATCHES = 2000
"""Units under way where a model is asked in batches: what they ask at a time goes together. Bounds the memory."""
UNITS_PER_CALL = 2
"""Units under way for each call that may be open, so that there is always one whose call is ready."""
_RELEASE_EVERY = 16
"""Units after which what was read of their store is given back: a unit's few pages bring their neighbours along."""


@dataclass(frozen=True, slots=True)
class _Collected:
    """Takes what a job finds to the run's folder."""

    writer: RunWriter

    def add(self, judgement: Judgement, store: ContextStore) -> None:
        seen: set[str] = set()
        for score in judgement.scores:
            density, single_token = store.density(score.unit), store.single_token(score.unit)
            self.writer.add(Measured(score, density, score.scorer not in seen, store.control, single_token))
            seen.add(score.scorer)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked of models, and how far that was from the plan (None where nothing was asked)."""

    account: dict[str, Any]
    plan: dict[str, Any] | None


def run_job(job: Job, base: Path, folder: Path, max_cost_usd: float | None = None) -> Path:
    """As `run_to_summary`, and returns the run's folder."""
    run_to_summary(job, base, folder, max_cost_usd)
    return folder


def run_to_summary(job: Job, base: Path, folder: Path, max_cost_usd: float | None = None) -> dict[str, Any]:
    """Runs a job whose paths are relative to `base`, writes the run's folder and returns its summary with the first
    places only (autointerp.results).

    max_cost_usd: what this run may spend; None: what the job says. Raises BadJob and BadStore before anything is asked
    of a model; ProviderRefused and Unsupported stop the job, and BudgetExceeded once the rest would cost too much.
    """
    cap = job.budget.max_cost_usd if max_cost_usd is None else max_cost_usd
    stores = Stores.of(job, base)
    tasks = tasks_of(job, stores)
    prepare_folder(folder)
    budget = Budget(None if cap is None else Decimal(str(cap)))
    with RunWriter(folder) as writer:
        with phases() as start:
            asked = asyncio.run(_Run(job, tasks, stores, start, budget, _Collected(writer)).all(base))
        save_job(job, base, folder)
        presets = [task.preset for task in tasks]
        described = job.model_dump(mode="json")
        return writer.finish(Finished(described, presets, stores.all(), asked.account, asked.plan))


@dataclass(frozen=True, slots=True)
class _Run:
    """A job under way."""

    job: Job
    tasks: list[Task]
    stores: Stores
    start: Start
    budget: Budget
    collected: _Collected

    async def all(self, base: Path) -> _Asked:
        """Runs the baselines, then every preset on its models, and returns what was asked of them.

        The models are opened first: what is wrong with one of them, or the ledger, is said before minutes are spent.
        """
        if not any(task.groups for task in self.tasks):
            await self._baselines()
            return _Asked({}, None)
        async with opened_models(self.job, base, self.budget) as models:
            tasks = [task.on(models) for task in self.tasks]
            plan = await rough_plan(self.job, self.tasks, models)
            if plan is not None:
                sys.stderr.write(f"{plan.sentence}\n")
            await self._baselines()
            groups = [_GroupRun(self, task, group, models) for task in tasks for group in task.groups]
            if batched(models):  # a batch may take a day, so what can wait together does
                await all_of(group.all() for group in groups)
            else:
                for group in groups:
                    await group.all()
            return _Asked(account(models), None if plan is None else plan.against(models))

    async def _baselines(self) -> None:
        """Scores the predictors without an LLM, which can afford every unit that fires."""
        for task in self.tasks:
            units = baseline_units(task, self.stores)
            advance = self.start(f"{task.name}: baselines", len(units)) if units else None
            for number, (store, unit) in enumerate(units, start=1):
                self._baseline(task, store, unit)
                if number % _RELEASE_EVERY == 0:
                    store.release()
                if advance:
                    advance("")
                await asyncio.sleep(0)  # or Ctrl-C would wait for the last of them

    def _baseline(self, task: Task, store: ContextStore, unit: UnitId) -> None:
        record = split_unit(store, unit, task.preset.splits, self.job.seed)
        if isinstance(record, Unscored):
            found = not_split(task.method, unit, record, Role.BASELINE)
        else:
            found = baselines(task.method, record, task.seed(unit))
        for judgement in found:
            self.collected.add(judgement, store)


@dataclass(frozen=True, slots=True)
class _GroupRun:
    """One preset on one group of units, under way."""

    run: _Run
    task: Task
    group: Group
    models: Models[LedgeredModel]

    async def all(self) -> None:
        """Explains the units that lend their explanations as controls, then explains and judges unit after unit."""
        told = await self._told() if self._controlled else {}
        lent = Lenders(told, self.run.job.seed)
        what = "simulating" if len(told) == len(self.group.units) else "explaining, simulating"
        advance = self._phase(what, len(self.group.units))
        done = Counter[bool]()

        async def work(unit: UnitId) -> None:
            done[await self._unit(unit, told.get(unit), lent)] += 1
            advance(f"{done[True]} of {done.total()} scored, {note(self.models)}")
            if done.total() % _RELEASE_EVERY == 0:
                self.group.store.release()

        await each(work, self.group.units, self._width)

    @property
    def _controlled(self) -> bool:
        return self.task.section.controls and self.group.role is Role.EXPLANATION

    @property
    def _width(self) -> int:
        if batched(self.models):
            return _IN_BATCHES
        return UNITS_PER_CALL * max(model.pacing.limits.concurrency for model in self.models.each)

    def _phase(self, what: str, total: int) -> Callable[[str], None]:
        control = "control " if self.group.role is Role.SHUFFLED_WEIGHTS else ""
        name = f"{self.task.name}: {control}{self.group.kind.value}s, {what}"
        return self.run.start(name, total, partial(state, self.models))

    def _split(self, unit: UnitId) -> UnitRecord | Unscored:
        return split_unit(self.group.store, unit, self.task.preset.splits, self.run.job.seed)

    async def _explain(self, record: UnitRecord) -> Explanation | Unscored:
        return await explain(self.task.method, record, self.models.explainer, self.task.seed(record.unit))

    async def _told(self) -> dict[UnitId, Explanation | Unscored]:
        """The explanations of the units that lend them. A unit without a record has none."""
        units = lenders(self.group.units, self.run.job.seed)
        advance = self._phase("explaining", len(units))
        told: dict[UnitId, Explanation | Unscored] = {}

        async def work(unit: UnitId) -> None:
            record = self._split(unit)
            told[unit] = record if isinstance(record, Unscored) else await self._explain(record)
            advance(note(self.models))
            if len(told) % _RELEASE_EVERY == 0:
                self.group.store.release()

        await each(work, units, self._width)
        return told

    async def _unit(self, unit: UnitId, told: Explanation | Unscored | None, lent: Lenders) -> bool:
        """Explains and judges a unit; whether its own explanation has a score."""
        record = self._split(unit)
        if isinstance(record, Unscored):
            for judgement in not_split(self.task.method, unit, record, self.group.role):
                self.run.collected.add(judgement, self.group.store)
            return False
        own = await self._explain(record) if told is None else told
        roles = {self.group.role: own}
        if self._controlled:  # another unit's, through the same path
            roles[Role.OTHER_EXPLANATION] = lent.other(unit, own)
        found = await all_of(self._judge(record, explanation, role) for role, explanation in roles.items())
        for (role, explanation), judgement in zip(roles.items(), found, strict=True):
            self.run.collected.add(judgement, self.group.store)
            line = detail(record, self.task.name, role, explanation, judgement.simulations)
            self.run.collected.writer.add_detail(line)
        return isinstance(found[0].scores[0].outcome, Scored)

    async def _judge(self, record: UnitRecord, explanation: Explanation | Unscored, role: Role) -> Judgement:
        seed = self.task.seed(record.unit)
        return await judge(self.task.method, record, explanation, role, self.models.scorer, seed)


async def each(work: Callable[[T], Awaitable[object]], items: Iterable[T], width: int) -> None:
    """Does `work` on every item, at most `width` at once, taken as they begin. An error cancels the rest."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    await all_of(worker() for _ in range(width))
