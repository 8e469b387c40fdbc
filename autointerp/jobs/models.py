"""From a job's models and [ledger] to models that explainers, simulators and scorers can ask."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autointerp import registry
from autointerp.errors import LedgerError
from autointerp.jobs.interrupts import interrupts
from autointerp.jobs.job import PARTS, Job, LedgerSection, ModelSection
from autointerp.prompting import all_of
from autointerp.protocols import Provider
from autointerp.providers import Accounts, Counters, Ledger, LedgeredModel, Limits, RetryPolicy, import_jsonl

__all__ = ["Models", "account", "note", "opened_models", "paused"]


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a job's parts. Parts with the same settings share one; all share the ledger and the accounts."""

    explainer: LedgeredModel
    simulator: LedgeredModel
    scorer: LedgeredModel

    @property
    def each(self) -> tuple[LedgeredModel, ...]:
        """Every model once."""
        return tuple({id(model): model for model in (self.explainer, self.simulator, self.scorer)}.values())


@asynccontextmanager
async def opened_models(job: Job, base: Path) -> AsyncIterator[Models]:
    """The job's models behind its ledger, recordings imported; all are closed at the end, whatever happened."""
    sections: list[ModelSection] = []  # each once, however many parts it serves
    for part in PARTS:
        if (section := job.model_of(part)) not in sections:
            sections.append(section)
    providers = [_provider(section, base) for section in sections]
    async with _closing(providers), _ledger(job.ledger, base) as ledger:
        for recording in job.ledger.imports:
            import_jsonl(ledger, base / recording)
        accounts = Accounts()
        made = [
            _model(section, provider, ledger, accounts) for section, provider in zip(sections, providers, strict=True)
        ]
        try:
            yield Models(*(made[sections.index(job.model_of(part))] for part in PARTS))
        finally:
            await _finished(made)


@asynccontextmanager
async def _closing(providers: Iterable[Provider]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for provider in providers:
            stack.push_async_callback(provider.close)
        yield


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


async def _finished(models: Sequence[LedgeredModel]) -> None:
    """Waits for the calls that are open, which are paid for; another Ctrl-C gives them up."""
    with interrupts() as another:
        pacings = {id(model.pacing): model.pacing for model in models}  # models of one account share one
        if calls := sum(pacing.open for pacing in pacings.values()):
            sys.stderr.write(f"recording the replies of {calls} open calls first; Ctrl-C again leaves at once\n")
        finishing = asyncio.ensure_future(all_of(model.finish() for model in models))
        leaving = asyncio.ensure_future(another.wait())
        await asyncio.wait([finishing, leaving], return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not finishing.done():
            await all_of(model.abandon() for model in models)
        await finishing


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


def note(models: Models) -> str:
    """What was asked so far, for a progress bar."""
    counters = [model.counters for model in models.each]
    failed = sum(one.failed for one in counters)
    replayed, live = sum(one.replayed + one.joined for one in counters), sum(one.live for one in counters)
    return f"{replayed} replayed, {live} asked" + (f", {failed} failed" if failed else "")


def paused(models: Models) -> str:
    """Until when nothing is asked because a server said "later", for a progress bar; "" while all are asked."""
    seconds = max(model.pacing.paused_s for model in models.each)
    if not seconds:
        return ""
    until = datetime.now().astimezone() + timedelta(seconds=seconds)
    return f"paused by a rate limit until {until:%H:%M:%S}"


def account(models: Models) -> dict[str, Any]:
    """What was asked in all, for the manifest."""
    total = sum((model.counters for model in models.each), Counters())
    usages = {"live_usage": total.live_usage.to_json(), "replayed_usage": total.replayed_usage.to_json()}
    return {**asdict(total), **usages}
