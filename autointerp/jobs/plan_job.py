"""`autointerp plan`: a job's plan as a document, and in words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from autointerp.jobs.job import Job
from autointerp.jobs.plan import PLANNED_WHOLE, planned, planning
from autointerp.jobs.plan_numbers import plan_document
from autointerp.jobs.plan_words import plan_text

__all__ = ["plan_job", "plan_text"]


def plan_job(job: Job, base: Path, most: int = PLANNED_WHOLE) -> dict[str, Any]:
    """The plan of a job whose paths are relative to `base` (see `plan_document`), on at most so many units of a group.

    Nothing is asked, no key is needed, and nothing is written. Raises what a run would raise before it asks anything.
    """

    async def found() -> dict[str, Any]:
        async with planning(job, base) as (tasks, models):
            return plan_document(job, await planned(tasks, models, most), models)

    return asyncio.run(found())
