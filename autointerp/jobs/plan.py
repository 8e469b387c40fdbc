"""What a job will ask and what that will cost, before anything is spent.

The run's own code explains and judges units on models that are never asked (`autointerp.providers.PlanningModel`), so a
plan and a run cannot disagree about what is asked; only lengths of replies are guessed, and tokens estimated. Small
groups are planned whole, large ones on a random sample of their units.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from autointerp.controls import LENDERS, Lenders, lenders
from autointerp.errors import BadJob, NoLedger
from autointerp.jobs.job import PARTS, Job, LedgerSection
from autointerp.jobs.models import Models, closing, price_for, provider_of, sections_of
from autointerp.jobs.selection import Group
from autointerp.jobs.stores import Stores
from autointerp.jobs.tasks import Task, tasks_of
from autointerp.pipeline import explain, judge
from autointerp.providers import KnownCalls, Ledger, PlanningModel, Tally, import_jsonl
from autointerp.records import split_unit
from autointerp.seeds import generator
from autointerp.types import Explanation, Role, UnitId, UnitRecord, Unscored

__all__ = ["PLANNED_WHOLE", "PlannedGroup", "planned", "planning"]

PLANNED_WHOLE = 200
"""Units of a group up to which all of them are planned; of a larger one so many are, drawn at random."""


@dataclass(slots=True)
class PlannedGroup:
    """The plan of one preset on one group of units.

    population: units of the group; units: for each unit that was planned, a tally for each of the job's models.
    """

    preset: str
    group: Group
    units: list[tuple[Tally, ...]] = field(default_factory=list)

    @property
    def population(self) -> int:
        return len(self.group.units)

    @property
    def name(self) -> str:
        """Such as "control features"."""
        return f"{'control ' if self.group.role is Role.SHUFFLED_WEIGHTS else ''}{self.group.kind.value}s"


@asynccontextmanager
async def planning(job: Job, base: Path) -> AsyncIterator[tuple[list[Task], Models[PlanningModel]]]:
    """The tasks of a job, and models that are never asked. The job's ledger and recordings are read and not changed.

    Raises what a run would raise before it asks anything: BadJob, BadStore, Unsupported, and BadJob where a vendor's
    price is not known.
    """
    tasks = [task.planned() for task in tasks_of(job, Stores.of(job, base))]
    if not any(task.groups for task in tasks):
        raise BadJob("nothing to plan: the job asks no model")
    sections = sections_of(job)
    capped = job.budget.max_cost_usd is not None
    providers = [provider_of(section, base) for section in sections]
    async with closing(providers), _known(job.ledger, base) as known:
        made = [
            PlanningModel(
                provider,
                section.name,
                known,
                price=price_for(section, provider, capped=capped),
                replay_only=section.replay_only,
            )
            for section, provider in zip(sections, providers, strict=True)
        ]
        models = Models(*(made[sections.index(job.model_of(part))] for part in PARTS))
        yield [task.on(models) for task in tasks], models


async def planned(
    tasks: Sequence[Task], models: Models[PlanningModel], most: int = PLANNED_WHOLE
) -> list[PlannedGroup]:
    """The plan of every group of every preset, in the order in which a run takes them, on at most so many units each.

    models: those that the tasks ask.
    """
    return [await _Planner(task, group, models, most).all() for task in tasks for group in task.groups]


@dataclass(frozen=True, slots=True)
class _Planner:
    """Plans one preset on one group, unit after unit, since nothing is waited for."""

    task: Task
    group: Group
    models: Models[PlanningModel]
    most: int
    told: dict[UnitId, tuple[Explanation | Unscored, tuple[Tally, ...]]] = field(default_factory=dict)

    async def all(self) -> PlannedGroup:
        found = PlannedGroup(self.task.name, self.group)
        chosen = self._sample()
        if self._controlled:
            # All that lend in a run, so that its controls are found in the ledger; a rough plan has some of them.
            most = LENDERS if self.most >= PLANNED_WHOLE else self.most
            for unit in lenders(self.group.units, self.task.job.seed, most):
                await self._explained(unit)
        lent = Lenders({unit: explanation for unit, (explanation, _) in self.told.items()}, self.task.job.seed)
        for unit in chosen:
            found.units.append(await self._unit(unit, lent))
            await asyncio.sleep(0)  # or Ctrl-C would wait for the last of them
        return found

    @property
    def _controlled(self) -> bool:
        return self.task.section.controls and self.group.role is Role.EXPLANATION

    def _sample(self) -> Sequence[UnitId]:
        units = self.group.units
        if len(units) <= self.most:
            return units
        draw = generator(self.task.job.seed, "plan", self.task.name, self.group.kind.value, self.group.role.value)
        return [units[place] for place in sorted(draw.choice(len(units), self.most, replace=False))]

    def _split(self, unit: UnitId) -> UnitRecord | Unscored:
        return split_unit(self.group.store, unit, self.task.preset.splits, self.task.job.seed)

    async def _explained(self, unit: UnitId) -> tuple[Explanation | Unscored, tuple[Tally, ...]]:
        """The explanation, or a stand-in for it, and what it takes to ask for it; once for each unit."""
        if unit not in self.told:
            record = self._split(unit)
            with _counted(self.models) as tallies:
                self.told[unit] = await self._explain(unit, record), tallies
        return self.told[unit]

    async def _explain(self, unit: UnitId, record: UnitRecord | Unscored) -> Explanation | Unscored:
        if isinstance(record, Unscored):
            return record
        return await explain(self.task.method, record, self.models.explainer, self.task.seed(unit))

    async def _unit(self, unit: UnitId, lent: Lenders) -> tuple[Tally, ...]:
        own, explaining = await self._explained(unit)
        record = self._split(unit)
        if isinstance(record, Unscored):
            return explaining
        judged = [(self.group.role, own)]
        if self._controlled:
            judged.append((Role.OTHER_EXPLANATION, lent.other(unit, own)))
        with _counted(self.models) as judging:
            for role, explanation in judged:
                seed = self.task.seed(unit)
                await judge(self.task.method, record, explanation, role, self.models.scorer, seed)
        return tuple(first + second for first, second in zip(explaining, judging, strict=True))


@contextmanager
def _counted(models: Models[PlanningModel]) -> Iterator[tuple[Tally, ...]]:
    with ExitStack() as stack:
        yield tuple(stack.enter_context(model.counted()) for model in models.each)


@asynccontextmanager
async def _known(section: LedgerSection, base: Path) -> AsyncIterator[KnownCalls]:
    """The job's ledger, where there is one yet, and its recordings in another, which is thrown away afterwards."""
    async with AsyncExitStack() as stack:
        ledgers = []
        try:
            address = section.url if section.url is not None else base / section.path
            ledger = Ledger(address, create=False, password_variable=section.password_variable, wait_s=section.wait_s)
            ledgers.append(await stack.enter_async_context(ledger))
        except NoLedger:
            pass  # a run would make it
        if section.imports:
            folder = stack.enter_context(TemporaryDirectory(prefix="autointerp-plan-"))
            ledgers.append(await stack.enter_async_context(Ledger(Path(folder) / "imports.sqlite")))
            for recording in section.imports:
                import_jsonl(ledgers[-1], base / recording)
        yield KnownCalls(ledgers)
