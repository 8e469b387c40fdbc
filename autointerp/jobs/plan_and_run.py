"""The plan that every run that asks a model begins with, and how far off it was in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.jobs.job import Job
from autointerp.jobs.models import Models, sections_of
from autointerp.jobs.plan import planned
from autointerp.jobs.plan_numbers import total_of
from autointerp.jobs.tasks import Task
from autointerp.providers import Counters, LedgeredModel

__all__ = ["RoughPlan", "rough_plan"]

_UNITS = 5  # of each group: a run does not wait long for its plan
_COMPARED = ("calls", "prompt_tokens", "completion_tokens", "cost_usd")


@dataclass(frozen=True, slots=True)
class RoughPlan:
    """What a run was planned to ask, as `autointerp.jobs.plan_numbers.numbers_of` gives it."""

    numbers: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """For a person, before the run."""
        cost = self.numbers["cost_usd"]
        money = "unpriced" if cost is None else f"about ${cost:.2f}"
        tokens = self.numbers["prompt_tokens"] + self.numbers["completion_tokens"]
        return (
            f"plan: about {self.numbers['to_ask']:,} calls to ask, {tokens:,} tokens, {money} "
            "(from a few units; `autointerp plan` says more)"
        )

    def against(self, models: Models[LedgeredModel]) -> dict[str, Any] | None:
        """Planned, actual, and error: actual / planned - 1. None where nothing was asked.

        Actual costs and tokens are of answered calls, the cost of failed attempts included.
        """
        total = sum((model.counters for model in models.each), Counters())
        if not total.attempts:
            return None
        n = self.numbers
        told = {name: n[name] for name in _COMPARED} | {"calls": n["to_ask"]}
        actual = {
            "calls": total.live,
            "prompt_tokens": total.live_usage.prompt_tokens,
            "completion_tokens": total.live_usage.completion_tokens,
            "cost_usd": None if told["cost_usd"] is None else total.cost_usd,
        }
        error = {
            name: actual[name] / told[name] - 1 if told[name] and actual[name] is not None else None for name in told
        }
        return {"planned": told, "actual": actual, "error": error}


async def rough_plan(job: Job, tasks: Sequence[Task], models: Models[LedgeredModel]) -> RoughPlan | None:
    """The plan of a run on its own models, from a few units of each group; None where nothing may be asked.

    tasks: those of the run, not yet given its models.
    """
    if all(section.replay_only for section in sections_of(job)):
        return None
    each = {id(model): model.planning() for model in models.each}
    stand_ins = Models(*(each[id(model)] for model in (models.explainer, models.simulator, models.scorer)))
    groups = await planned([task.planned().on(stand_ins) for task in tasks], stand_ins, _UNITS)
    return RoughPlan(total_of(groups, stand_ins))
