"""Which units a job is about: a seeded random sample of those that fire, a list, or all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from autointerp.errors import BadJob
from autointerp.jobs.job import Job, PresetSection, Selection
from autointerp.records import ContextStore
from autointerp.seeds import generator
from autointerp.types import Kind, Role, UnitId

__all__ = ["Group", "all_firing", "groups_of", "select"]


@dataclass(frozen=True, slots=True)
class Group:
    """Units of one kind of one store, and the role in which their own explanations are scored."""

    store: ContextStore
    kind: Kind
    units: tuple[UnitId, ...]
    role: Role


def all_firing(store: ContextStore, kind: Kind) -> tuple[UnitId, ...]:
    """Every unit of a kind that fired at least once in the harvest, by index."""
    ids = store.unit_ids(kind)
    return tuple(ids[index] for index in store.firing(kind))


@lru_cache(maxsize=16)
def eligible(store: ContextStore, kind: Kind, min_density: float, max_density: float = 1.0) -> tuple[UnitId, ...]:
    """The firing units of a kind with a density in [min, max], by index: the population a sample is drawn from."""
    densities = store.densities(kind)
    ids = store.unit_ids(kind)
    return tuple(ids[index] for index in store.firing(kind) if min_density <= densities[index] <= max_density)


def select(
    store: ContextStore,
    kind: Kind,
    selection: Selection,
    seed: int,
    min_density: float = 0.0,
    max_density: float = 1.0,
) -> tuple[UnitId, ...]:
    """The units of one kind, in the order of the seeded draw (so that fewer units are a prefix of more).

    A number asks for a random sample of the eligible units, whatever their scores: nothing is picked for looking good.
    Raises BadJob where fewer are eligible than asked, or an index of a list does not exist.
    """
    if kind not in store.kinds:
        if selection in (0, []):
            return ()
        raise BadJob(f"the store {store.path} holds no {kind.value}s: it has {', '.join(store.kinds)}")
    if isinstance(selection, list):
        ids = store.unit_ids(kind)
        for index in selection:
            if index >= len(ids):
                raise BadJob(f"{kind.value} {index} does not exist: the store {store.path} has {len(ids)}")
        return tuple(ids[index] for index in selection)
    population = eligible(store, kind, min_density, max_density)
    if selection == "all":
        return population
    if selection > len(population):
        raise BadJob(
            f"{selection} {kind.value}s asked, but only {len(population)} fire{_between(min_density, max_density)} "
            f"in the store {store.path}"
        )
    order = generator(seed, "units", kind.value, str(store.control)).permutation(len(population))
    return tuple(population[index] for index in order[:selection])


def _between(low: float, high: float) -> str:
    if high < 1:
        return f" with a density of {low:g} to {high:g}"
    return f" with density {low:g} or more" if low else ""


def _first(units: tuple[UnitId, ...], limit: int | None) -> tuple[UnitId, ...]:
    return units if limit is None else units[:limit]


def groups_of(job: Job, preset: PresetSection, store: ContextStore, control: ContextStore | None) -> list[Group]:
    """The groups one preset works on: features and neurons, then those of the weight-shuffled subject."""
    wanted, limit = job.units, preset.units
    plan = [
        (store, Kind.FEATURE, wanted.features, limit.features, Role.EXPLANATION),
        (store, Kind.NEURON, wanted.neurons, limit.neurons, Role.EXPLANATION),
        (control, Kind.FEATURE, wanted.control_features, limit.control_features, Role.SHUFFLED_WEIGHTS),
        (control, Kind.NEURON, wanted.control_neurons, limit.control_neurons, Role.SHUFFLED_WEIGHTS),
    ]
    groups = []
    for source, kind, selection, most, role in plan:
        if selection in (0, []):
            continue
        if source is None:
            raise BadJob("units.control_features or control_neurons ask for a control store: name it as store.control")
        units = _first(select(source, kind, selection, job.seed, wanted.min_density, wanted.max_density), most)
        if units:
            groups.append(Group(source, kind, units, role))
    return groups
