"""The same job on another model, named on the command line."""

from __future__ import annotations

from pathlib import Path

from autointerp import registry
from autointerp.errors import BadInput
from autointerp.jobs.job import PARTS, Job, LedgerSection, ModelSection, PresetSection, PresetUnits, PriceSection
from autointerp.protocols import Provider

__all__ = ["on_model"]

_FORMS = "openai:MODEL, anthropic:MODEL, http://HOST/v1:MODEL (any OpenAI-compatible server), or local:FILE.gguf"
_VENDORS = ("openai", "anthropic")


def on_model(job: Job, llm: str, units: int | None, price: str | None = None) -> Job:
    """The job with `llm` in the place of its models, live, on a ledger of its own, for at most `units` of each group.

    llm: "openai:MODEL" (key in OPENAI_API_KEY), "anthropic:MODEL" (ANTHROPIC_API_KEY), "http://HOST/v1:MODEL", or
    "local:FILE" (a GGUF file or model folder, in process). price: "INPUT,OUTPUT" in USD per million tokens, before what
    the price list says. A model without prompt log-probabilities simulates by JSON, and one that takes no temperature
    is sent none. Raises BadInput for another form of either.
    """
    model = _model(llm).model_copy(update={"price": None if price is None else _price(price)})
    changes = _changes(model)
    presets = [PresetSection.model_validate({**preset.model_dump(), **changes}) for preset in job.presets]
    changed = job.model_copy(
        update={
            "model": model,
            **{f"{part}_model": None for part in PARTS},
            "presets": presets,
            "ledger": LedgerSection(path="demo-live.sqlite"),
        }
    )
    return changed if units is None else _fewer(changed, units)


def _fewer(job: Job, most: int) -> Job:
    """At most so many units of each group, the first of the same draw, and the baselines of those alone."""
    presets = []
    for preset in job.presets:
        limits = {group: most if limit is None else min(limit, most) for group, limit in preset.units}
        presets.append(preset.model_copy(update={"units": PresetUnits(**limits)}))
    baselines = "none" if job.baselines.units == "none" else "selected"
    update = {"presets": presets, "baselines": job.baselines.model_copy(update={"units": baselines})}
    return job.model_copy(update=update)


def _model(llm: str) -> ModelSection:
    service, _, name = llm.partition(":")
    if service == "local" and name:
        path = str(Path(name).expanduser().resolve())
        return ModelSection(provider="local", name=Path(name).stem, settings={"path": path})
    if service in _VENDORS and name:
        return ModelSection(provider=service, name=name)
    address, _, name = llm.rpartition(":")
    if service in ("http", "https") and name and "/" in address.removeprefix(f"{service}://"):
        return ModelSection(provider="openai_compatible", name=name, settings={"base_url": address, "key_variable": ""})
    raise BadInput(f"--llm {llm!r}: give {_FORMS}")


def _price(given: str) -> PriceSection:
    try:
        read, written = (float(number) for number in given.split(","))
        return PriceSection(input_per_million=read, output_per_million=written)
    except ValueError as error:  # of pydantic too: a price is finite and not below 0
        raise BadInput(
            f"--price {given!r}: give two numbers, USD per million tokens of input and of output, such as 0.4,1.6"
        ) from error


def _changes(model: ModelSection) -> dict[str, str]:
    """What presets must have otherwise for the model to serve them."""
    if model.provider == "local":
        return {}
    provider: Provider = registry.find("providers", model.provider).configured(model.name, model.settings)
    changes = {"simulator": "json"}
    if not provider.capabilities(model.name).temperature:
        changes |= {"explainer_temperature": "none", "simulator_temperature": "none"}
    return changes
