"""How a name in a job file becomes a component: built-in or from another package, by the same entry points.

A package adds a scorer, explainer, simulator, provider or preset with one line of its own pyproject.toml:

    [project.entry-points."autointerp.explainers"]
    my_explainer = "my_package.module:MyExplainer"

Built-in components are listed in `BUILT_IN` as import paths, so nothing is imported before it is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from autointerp.errors import BadJob

__all__ = ["BUILT_IN", "GROUPS", "find", "names"]

GROUPS = ("explainers", "simulators", "scorers", "presets", "providers")

BUILT_IN: dict[str, dict[str, str]] = {
    "explainers": {
        "token_activation": "autointerp.explainers.token_activation:TokenActivationExplainer",
        "interval": "autointerp.explainers.interval:IntervalExplainer",
    },
    "simulators": {
        "all_at_once": "autointerp.simulators.all_at_once:AllAtOnceSimulator",
        "json": "autointerp.simulators.json_reply:JsonSimulator",
    },
    "scorers": {
        "simulation": "autointerp.scorers.simulation:SimulationScorer",
    },
    "presets": {
        "openai": "autointerp.presets:OPENAI",
        "tm": "autointerp.presets:TM",
    },
    "providers": {
        "scripted": "autointerp.providers.scripted:ScriptedProvider",
        "openai": "autointerp.providers.openai_provider:OpenAIProvider",
        "openai_compatible": "autointerp.providers.openai_compatible:OpenAICompatibleProvider",
        "anthropic": "autointerp.providers.anthropic_provider:AnthropicProvider",
        "local": "autointerp.providers.local:LocalProvider",
    },
}


@cache
def _paths(group: str) -> dict[str, str]:
    if group not in GROUPS:
        raise ValueError(f"no such group of components: {group}")
    found = {point.name: point.value for point in entry_points(group=f"autointerp.{group}")}
    clash = sorted(set(found) & set(BUILT_IN[group]))
    if clash:
        raise BadJob(
            f"an installed package registers {group} under the built-in name {clash[0]!r}: uninstall or rename it"
        )
    return {**BUILT_IN[group], **found}


def names(group: str) -> tuple[str, ...]:
    """The names known in a group, sorted."""
    return tuple(sorted(_paths(group)))


def find(group: str, name: str) -> Any:
    """The component registered under `name`. Raises BadJob naming the known ones."""
    paths = _paths(group)
    if name not in paths:
        raise BadJob(f"unknown {group[:-1]} {name!r}: known are {', '.join(names(group))}")
    module, _, attribute = paths[name].partition(":")
    return getattr(import_module(module), attribute)
