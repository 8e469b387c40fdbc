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
from typing import Any, Generic, TypeVar

from autointerp import registry
from autointerp.errors import BadJob, LedgerError
from autointerp.jobs.interrupts import interrupts
from autointerp.jobs.job import PARTS, Job, LedgerSection, ModelSection
from autointerp.prompting import all_of
from autointerp.protocols import Provider
from autointerp.providers import (
    HOW_TO_GIVE,
    Accounts,
    BatchSettings,
    Billing,
    Budget,
    Counters,
    GivenPrice,
    HasBatches,
    Ledger,
    LedgeredModel,
    Limits,
    PlanningModel,
    Price,
    RetryPolicy,
    import_jsonl,
    price_of,
)

__all__ = [
    "Models",
    "account",
    "batched",
    "closing",
    "note",
    "opened_models",
    "paused",
    "price_for",
    "provider_of",
    "sections_of",
    "state",
]


M = TypeVar("M", LedgeredModel, PlanningModel)


@dataclass(frozen=True, slots=True)
class Models(Generic[M]):
    """The models of a job's parts. Parts with the same settings share one; all share the ledger and the accounts."""

    explainer: M
    simulator: M
    scorer: M

    @property
    def each(self) -> tuple[M, ...]:
        """Every model once."""
        return tuple({id(model): model for model in (self.explainer, self.simulator, self.scorer)}.values())


def sections_of(job: Job) -> list[ModelSection]:
    """The models that a job names, each once, however many parts it serves."""
    sections: list[ModelSection] = []
    for part in PARTS:
        if (section := job.model_of(part)) not in sections:
            sections.append(section)
    return sections


@asynccontextmanager
async def opened_models(job: Job, base: Path, budget: Budget | None = None) -> AsyncIterator[Models[LedgeredModel]]:
    """The job's models behind its ledger, recordings imported; all are closed at the end, whatever happened.

    budget: what all of them are paid from; None: one without a cap. Raises BadJob where it has a cap, or a vendor sells
    a model, and there is no price.
    """
    budget = budget or Budget()
    sections = sections_of(job)
    providers = [provider_of(section, base) for section in sections]
    billings = [
        Billing(price_for(section, provider, capped=budget.most_usd is not None), budget)
        for section, provider in zip(sections, providers, strict=True)
    ]
    async with closing(providers), _ledger(job.ledger, base) as ledger:
        for recording in job.ledger.imports:
            import_jsonl(ledger, base / recording)
        if not all(section.replay_only for section in sections):
            ledger.check_writable()
        accounts = Accounts()
        made = [
            _model(section, provider, ledger, accounts, billing)
            for section, provider, billing in zip(sections, providers, billings, strict=True)
        ]
        try:
            yield Models(*(made[sections.index(job.model_of(part))] for part in PARTS))
        finally:
            await _finished(made)


@asynccontextmanager
async def closing(providers: Iterable[Provider]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for provider in providers:
            stack.push_async_callback(provider.close)
        yield


def price_for(section: ModelSection, provider: Provider, *, capped: bool = False) -> Price | None:
    """What a model costs; None where nothing will be asked of it, or no vendor sells it and the job gives no price.

    Raises BadJob where a vendor sells it and its price is not known, or where there is none and a cap is to be held.
    """
    if section.replay_only:
        return None
    given = None if section.price is None else GivenPrice(**section.price.model_dump())
    price = price_of(provider, section.name, given)
    if price is None and capped:
        raise BadJob(f"a cap on spending needs a price, and {section.name} has none: {HOW_TO_GIVE}")
    return price


def _model(
    section: ModelSection, provider: Provider, ledger: Ledger, accounts: Accounts, billing: Billing
) -> LedgeredModel:
    return LedgeredModel(
        provider,
        section.name,
        ledger,
        pacing=accounts.pacing(provider, section.name, _limits(section)),
        replay_only=section.replay_only,
        retries=RetryPolicy(max_wait_s=section.max_wait_s),
        batch=_batch(section, provider),
        billing=billing,
    )


def _batch(section: ModelSection, provider: Provider) -> BatchSettings | None:
    if not section.batch:
        return None
    if not isinstance(provider, HasBatches):
        raise BadJob(f"batch: the provider {section.provider} takes no batches; openai and anthropic do")
    return BatchSettings(section.batch_size, section.batch_poll_s, 3600 * section.max_wait_h)


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
        # One model with several settings has one pacing; of one that asks in batches the calls only look at them.
        pacings = {id(model.pacing): model.pacing for model in models if not model.batched}
        if waiting := sum(model.in_batches.requests for model in models):
            sys.stderr.write(f"{waiting} requests wait in batches, which go on: the same command collects them\n")
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
        return Ledger(section.url, password_variable=section.password_variable, wait_s=section.wait_s)
    path = base / section.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{path}: its folder cannot be made ({error.strerror}): name another ledger.path") from error
    return Ledger(path, wait_s=section.wait_s)


def provider_of(section: ModelSection, base: Path) -> Provider:
    """The provider with its settings; a setting named `path` is relative to the job file."""
    settings = dict(section.settings)
    if isinstance(settings.get("path"), str):
        settings["path"] = os.fspath(base / settings["path"])
    made: Provider = registry.find("providers", section.provider).configured(section.name, settings)
    return made


def note(models: Models[LedgeredModel]) -> str:
    """What was asked so far, for a progress bar."""
    counters = [model.counters for model in models.each]
    failed = sum(one.failed for one in counters)
    replayed, live = sum(one.replayed + one.joined for one in counters), sum(one.live for one in counters)
    spent = sum(one.cost_usd for one in counters)
    return f"{replayed} replayed, {live} asked" + (f", {failed} failed" if failed else "") + _money(spent)


def _money(spent: float) -> str:
    return f", ${spent:.2f}" if spent >= 0.005 else ", under a cent" if spent else ""


def batched(models: Models[LedgeredModel]) -> bool:
    """Whether one of them is asked in batches."""
    return any(model.batched for model in models.each)


def state(models: Models[LedgeredModel]) -> str:
    """What holds it up just now, for a progress bar; "" where nothing does."""
    return ", ".join(filter(None, (paused(models), _in_batches(models))))


def _in_batches(models: Models[LedgeredModel]) -> str:
    waiting = [model.in_batches for model in models.each]
    requests, batches = sum(one.requests for one in waiting), sum(one.batches for one in waiting)
    since = min((one.since for one in waiting if one.since is not None), default=None)
    if not batches:
        return ""
    at_vendor = f" since {since.astimezone():%H:%M:%S}" if since is not None else ", not sent yet"
    return f"{requests} requests in {batches} batches{at_vendor}"


def paused(models: Models[LedgeredModel]) -> str:
    """Until when nothing is asked because a server said "later"; "" while all are asked."""
    seconds = max(model.pacing.paused_s for model in models.each)
    if not seconds:
        return ""
    until = datetime.now().astimezone() + timedelta(seconds=seconds)
    return f"paused by a rate limit until {until:%H:%M:%S}"


def account(models: Models[LedgeredModel]) -> dict[str, Any]:
    """What was asked in all and what this command paid for it, and the same for each model that was asked.

    A run that was replayed whole says the same on every machine: of prices there is no word where nothing was asked.
    """
    total = sum((model.counters for model in models.each), Counters())
    asked = [model for model in models.each if model.counters.attempts]
    return {**_counted(total), "models": [_of_model(model) for model in asked]}


def _of_model(model: LedgeredModel) -> dict[str, Any]:
    price = model.billing.price
    named = {"provider": model.provider, "model": model.model, "price": price.source if price else None}
    return {**named, **_counted(model.counters)}


def _counted(counters: Counters) -> dict[str, Any]:
    """cost_usd: None where calls were answered, and what none of them cost is known."""
    usages = {"live_usage": counters.live_usage.to_json(), "replayed_usage": counters.replayed_usage.to_json()}
    cost = None if counters.unpriced and not counters.cost_usd else counters.cost_usd
    return {**asdict(counters), **usages, "cost_usd": cost}
