"""A plan as one document: calls, tokens and costs of each group, of each model, per unit and in all."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy import stats

from autointerp.jobs.job import Job
from autointerp.jobs.models import Models
from autointerp.jobs.plan import PlannedGroup
from autointerp.protocols import Capabilities
from autointerp.providers import PlanningModel, Tally
from autointerp.providers.planning import REASONING_SHARE, REPLY_SHARE

__all__ = ["COSTS", "numbers_of", "plan_document", "total_of"]

COSTS = ("cost_usd", "batch_usd", "most_usd")
_COUNTS = ("calls", "known", "missing", "joined", "to_ask")
_TOKENS = ("prompt_tokens", "cached_prompt_tokens", "cache_write_tokens", "completion_tokens")
_LEVEL = 0.95


def plan_document(job: Job, groups: Sequence[PlannedGroup], models: Models[PlanningModel]) -> dict[str, Any]:
    """The document of `autointerp plan --json`.

    Tokens and costs are of the calls that are still to be asked; `known` ones are in the ledger, `missing` ones are not
    and may not be asked (replay_only), `joined` ones are the same question asked again. A cost is None where a model
    that is to be asked has no price, and so is that of a batch where no price of batches is known. Intervals
    (`ci_low`, `ci_high`, at 95%) are those of the sample of units, and None where all of them were planned.
    """
    each = models.each
    by_group = [
        {
            "preset": one.preset,
            "units": one.name,
            "n_units": one.population,
            "n_planned": len(one.units),
            **numbers_of([one], each),
            "per_unit": _per_unit(numbers_of([one], each), one.population),
        }
        for one in groups
    ]
    return {
        "name": job.name,
        "max_cost_usd": job.budget.max_cost_usd,
        "models": [_model(place, model, groups, each) for place, model in enumerate(each)],
        "presets": {
            preset: numbers_of([one for one in groups if one.preset == preset], each)
            for preset in dict.fromkeys(one.preset for one in groups)
        },
        "groups": by_group,
        "total": total_of(groups, models),
        "assumed": list(_assumed(groups, each)),
        "warnings": list(_warnings(each)),
    }


def total_of(groups: Sequence[PlannedGroup], models: Models[PlanningModel]) -> dict[str, Any]:
    """The numbers of all groups and models together."""
    return numbers_of(groups, models.each)


def numbers_of(
    groups: Sequence[PlannedGroup], models: Sequence[PlanningModel], only: int | None = None
) -> dict[str, Any]:
    """Counts, tokens and costs of groups, on all models or one of them, scaled from the units that were planned."""
    places = range(len(models)) if only is None else (only,)
    found: dict[str, Any] = dict.fromkeys((*_COUNTS, *_TOKENS, *COSTS), 0.0)
    known_tokens = {"prompt_tokens": 0.0, "completion_tokens": 0.0}
    variance = 0.0
    for group in groups:
        tallies = [_sum(unit[place] for place in places) for unit in group.units]
        factor = group.population / len(tallies)
        for tally in tallies:
            for name, value in _values(tally).items():
                found[name] += factor * value
            for name in known_tokens:
                known_tokens[name] += factor * getattr(tally.known_usage, name)
        variance += _variance([tally.cost_usd for tally in tallies], group.population)
    asked = [place for place in places if any(unit[place].to_ask for group in groups for unit in group.units)]
    costs = _costs(found, [models[place] for place in asked])
    counted: dict[str, Any] = {name: round(found[name]) for name in (*_COUNTS, *_TOKENS)}
    interval = _interval(costs["cost_usd"], variance, sum(len(group.units) for group in groups))
    return {
        **counted,
        **costs,
        **interval,
        "known_usage": {name: round(value) for name, value in known_tokens.items()},
    }


def _values(tally: Tally) -> dict[str, float]:
    counts = {name: getattr(tally, name) for name in (*_COUNTS, *COSTS)}
    return counts | {name: getattr(tally.usage, name) for name in _TOKENS}


def _sum(tallies: Iterable[Tally]) -> Tally:
    return sum(tallies, Tally())


def _costs(found: Mapping[str, float], asked: Sequence[PlanningModel]) -> dict[str, float | None]:
    priced = all(model.price is not None for model in asked)
    now = datetime.now(UTC)
    in_batch = priced and all(model.price and model.price.rates(0, now, batch=True) for model in asked)
    known = {"cost_usd": priced, "batch_usd": in_batch, "most_usd": priced}
    return {name: found[name] if known[name] else None for name in COSTS}


def _variance(values: Sequence[float], population: int) -> float:
    """Of the total of a population of which these are a random sample, without replacement."""
    n = len(values)
    if n < 2 or n == population:
        return 0.0
    return float(population**2 * np.var(values, ddof=1) / n * (1 - n / population))


def _interval(cost: float | None, variance: float, n: int) -> dict[str, float | None]:
    if cost is None or not variance:
        return {"ci_low": None, "ci_high": None}
    half = float(stats.t.ppf((1 + _LEVEL) / 2, n - 1)) * math.sqrt(variance)
    return {"ci_low": max(0.0, cost - half), "ci_high": cost + half}


def _per_unit(numbers: Mapping[str, Any], population: int) -> dict[str, float | None]:
    names = ("calls", "to_ask", *_TOKENS, *COSTS)
    return {name: None if numbers[name] is None else numbers[name] / population for name in names}


def _model(
    place: int, model: PlanningModel, groups: Sequence[PlannedGroup], models: Sequence[PlanningModel]
) -> dict[str, Any]:
    return {
        "provider": model.provider,
        "model": model.model,
        "price": None if model.price is None else model.price.source,
        "per_million": _rates(model),
        "calibrated_on": model.calibrated,
        **numbers_of(groups, models, place),
    }


def _rates(model: PlanningModel) -> dict[str, float] | None:
    """Of a short prompt, now."""
    rates = None if model.price is None else model.price.rates(0, datetime.now(UTC))
    if rates is None:
        return None
    return {name: float(getattr(rates, name)) for name in ("input", "cached_input", "cache_write", "output")}


def _assumed(groups: Sequence[PlannedGroup], models: Sequence[PlanningModel]) -> Iterable[str]:
    for place, model in enumerate(models):
        if not any(unit[place].to_ask for group in groups for unit in group.units):
            continue
        if model.calibrated:
            yield (
                f"{model.model}: tokens, lengths of replies and cache hits as in {model.calibrated} calls of the "
                "ledger; sorts of calls that it lacks by rule"
            )
            continue
        caching = _caching(model.capabilities())
        hidden = f", hidden reasoning takes {REASONING_SHARE:.1%} of its room" if _reasons(model) else ""
        yield (
            f"{model.model}: tokens are counted without its tokenizer, replies take {REPLY_SHARE:.0%} of their room"
            f"{hidden}, {caching}; what the ledger learns will mend this"
        )
    if sampled := [one for one in groups if len(one.units) < one.population]:
        n = sum(len(one.units) for one in sampled)
        yield f"{n} of {sum(one.population for one in sampled)} units of large groups were planned, drawn at random"


def _caching(can: Capabilities) -> str:
    if not can.prompt_caching:
        return "no cache"
    return f"the vendor keeps the stable part of a prompt after its first use, from {can.cached_from:,} tokens on"


def _reasons(model: PlanningModel) -> bool:
    return bool(model.capabilities().reasoning_room)


@runtime_checkable
class NeedsKey(Protocol):
    """A provider that reads a key from the environment; "" for one that needs none."""

    @property
    def key_variable(self) -> str: ...


def _warnings(models: Sequence[PlanningModel]) -> Iterable[str]:
    for model in models:
        provider = model.served_by
        needs = isinstance(provider, NeedsKey) and provider.key_variable and not model.replay_only
        if needs and isinstance(provider, NeedsKey) and not os.environ.get(provider.key_variable, "").strip():
            yield f"a run needs a key for {model.provider}: set the environment variable {provider.key_variable}"
