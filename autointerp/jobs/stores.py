"""The context stores of a job: that of the subject under study, and that of a control subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autointerp.errors import BadJob
from autointerp.jobs.job import Job
from autointerp.records import ContextStore

__all__ = ["Stores"]


@dataclass(frozen=True, slots=True)
class Stores:
    """Made by `Stores.of`. `control` is None where the job names none."""

    main: ContextStore
    control: ContextStore | None

    @classmethod
    def of(cls, job: Job, base: Path) -> Stores:
        """Opens the stores. Raises BadStore, and BadJob where one is named in the place of the other."""
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
