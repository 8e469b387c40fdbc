"""From a job's [model] and [ledger] to a model that explainers and simulators can ask."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autointerp import registry
from autointerp.errors import BadJob, LedgerError
from autointerp.jobs.interrupts import interrupts
from autointerp.jobs.job import Job, LedgerSection, ModelSection
from autointerp.protocols import Provider
from autointerp.providers import Accounts, Ledger, LedgeredModel, Limits, RetryPolicy, import_jsonl

__all__ = ["account", "note", "opened_model", "paused"]


@asynccontextmanager
async def opened_model(job: Job, base: Path) -> AsyncIterator[LedgeredModel]:
    """The job's model behind its ledger, recordings imported; both are closed at the end, whatever happened."""
    if job.model is None:
        raise BadJob("the job has no [model]")
    provider = _provider(job.model, base)
    async with _ledger(job.ledger, base) as ledger:
        for recording in job.ledger.imports:
            import_jsonl(ledger, base / recording)
        model = _model(job.model, provider, ledger, Accounts())
        try:
            yield model
        finally:
            await _finished(model, provider)


def _model(section: ModelSection, provider: Provider, ledger: Ledger, accounts: Accounts) -> LedgeredModel:
    return LedgeredModel(
        provider,
        section.name,
        ledger,
        pacing=accounts.pacing(provider, _limits(section)),
        replay_only=section.replay_only,
        retries=RetryPolicy(max_wait_s=section.max_wait_s),
    )


def _limits(section: ModelSection) -> Limits:
    return Limits(
        requests_per_minute=section.requests_per_minute,
        tokens_per_minute=section.tokens_per_minute,
        concurrency=section.concurrency,
        min_concurrency=section.min_concurrency,
    )


async def _finished(model: LedgeredModel, provider: Provider) -> None:
    """Waits for the calls that are open, which are paid for; another Ctrl-C gives them up."""
    try:
        with interrupts() as another:
            if calls := model.pacing.open:
                sys.stderr.write(f"recording the replies of {calls} open calls first; Ctrl-C again leaves at once\n")
            finishing, leaving = asyncio.ensure_future(model.finish()), asyncio.ensure_future(another.wait())
            await asyncio.wait([finishing, leaving], return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            if not finishing.done():
                await model.abandon()
            await finishing
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


def paused(model: LedgeredModel) -> str:
    """Until when nothing is asked because the server said "later", for a progress bar; "" while it is asked."""
    seconds = model.pacing.paused_s
    if not seconds:
        return ""
    until = datetime.now().astimezone() + timedelta(seconds=seconds)
    return f"paused by a rate limit until {until:%H:%M:%S}"


def account(model: LedgeredModel) -> dict[str, Any]:
    """What was asked in all, for the manifest."""
    counters = model.counters
    usages = {"live_usage": counters.live_usage.to_json(), "replayed_usage": counters.replayed_usage.to_json()}
    return {**asdict(counters), **usages}
