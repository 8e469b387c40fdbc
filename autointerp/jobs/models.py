"""From a job's [model] and [ledger] to a model that explainers and simulators can ask."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autointerp import registry
from autointerp.errors import BadJob, LedgerError
from autointerp.jobs.job import Job, LedgerSection, ModelSection
from autointerp.protocols import Provider
from autointerp.providers import Ledger, LedgeredModel, import_jsonl

__all__ = ["account", "note", "opened_model"]


@asynccontextmanager
async def opened_model(job: Job, base: Path) -> AsyncIterator[LedgeredModel]:
    """The job's model behind its ledger, recordings imported; both are closed at the end, whatever happened."""
    if job.model is None:
        raise BadJob("the job has no [model]")
    provider = _provider(job.model, base)
    async with _ledger(job.ledger, base) as ledger:
        for recording in job.ledger.imports:
            import_jsonl(ledger, base / recording)
        gate = asyncio.Semaphore(job.model.concurrency)
        try:
            yield LedgeredModel(provider, job.model.name, ledger, gate=gate, replay_only=job.model.replay_only)
        finally:
            await provider.close()


def _ledger(section: LedgerSection, base: Path) -> Ledger:
    if section.url is not None:
        return Ledger(section.url, password_variable=section.password_variable)
    path = base / section.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{path}: its folder cannot be made ({error.strerror}): name another ledger.path") from error
    return Ledger(path)


def _provider(section: ModelSection, base: Path) -> Provider:
    """The provider with its settings; a setting named `path` is relative to the job file."""
    settings = dict(section.settings)
    if isinstance(settings.get("path"), str):
        settings["path"] = os.fspath(base / settings["path"])
    made: Provider = registry.find("providers", section.provider).configured(section.name, settings)
    return made


def note(model: LedgeredModel) -> str:
    """What was asked so far, for a progress bar."""
    counters = model.counters
    failed = f", {counters.failed} failed" if counters.failed else ""
    return f"{counters.replayed + counters.joined} replayed, {counters.live} asked{failed}"


def account(model: LedgeredModel) -> dict[str, Any]:
    """What was asked in all, for the manifest."""
    counters = model.counters
    usages = {"live_usage": counters.live_usage.to_json(), "replayed_usage": counters.replayed_usage.to_json()}
    return {**asdict(counters), **usages}
