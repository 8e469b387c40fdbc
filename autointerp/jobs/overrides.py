"""The same job on another model, named on the command line."""

from __future__ import annotations

from pathlib import Path

from autointerp import registry
from autointerp.errors import BadInput
from autointerp.jobs.job import Job, LedgerSection, ModelSection, PresetSection, UnitsSection
from autointerp.protocols import Provider

__all__ = ["on_model"]

_FORMS = "openai:MODEL, anthropic:MODEL, http://HOST/v1:MODEL (any OpenAI-compatible server), or local:FILE.gguf"
_VENDORS = ("openai", "anthropic")


def on_model(job: Job, llm: str, units: int | None) -> Job:
    """The job with `llm` in the place of its model, live, on a ledger of its own, for at most `units` of each group.

    llm: "openai:MODEL" (key in OPENAI_API_KEY), "anthropic:MODEL" (ANTHROPIC_API_KEY), "http://HOST/v1:MODEL", or
    "local:FILE" (a GGUF file or model folder, in process). A model without prompt log-probabilities simulates by JSON,
    and one that takes no temperature is sent none. Raises BadInput for another form.
    """
    model = _model(llm)
    changes = _changes(model)
    presets = [PresetSection.model_validate({**preset.model_dump(), **changes}) for preset in job.presets]
    wanted = (
        job.units
        if units is None
        else UnitsSection(features=units, neurons=units, control_features=units, min_density=job.units.min_density)
    )
    return job.model_copy(
        update={"model": model, "presets": presets, "units": wanted, "ledger": LedgerSection(path="demo-live.sqlite")}
    )


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


def _changes(model: ModelSection) -> dict[str, str]:
    """What presets must have otherwise for the model to serve them."""
    if model.provider == "local":
        return {}
    provider: Provider = registry.find("providers", model.provider).configured(model.name, model.settings)
    changes = {"simulator": "json"}
    if not provider.capabilities(model.name).temperature:
        changes |= {"explainer_temperature": "none", "simulator_temperature": "none"}
    return changes
