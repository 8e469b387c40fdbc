"""Settings of the simulators, and what they share in building prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from autointerp.prompting import one_line
from autointerp.records import show_token
from autointerp.types import Context, Scale

__all__ = ["SimulatorSettings", "batches", "packs", "show_explanation", "unpacked"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Settings of a simulator.

    scale: levels predicted (not raw); contexts_per_prompt: at least 1; few_shot: how many example units the prompt
    holds; temperature: for simulators that generate, None where the model takes none; samples: for those too, replies
    asked for at most, where one cannot be read.
    """

    scale: Scale
    contexts_per_prompt: int
    few_shot: int
    temperature: float | None = 0.0
    samples: int = 1

    def sent(self) -> dict[str, Any]:
        """What shows in a request, for its provenance."""
        return {name: value for name, value in asdict(self).items() if name != "samples"}


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in order, `size` at a time; the last batch may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))


def packs(contexts: Sequence[Context], size: int) -> list[Sequence[Context]]:
    """Contexts that share a call, `size` at a time, in the order of their ids, which are hashes.

    In the order of the split the contexts in which a unit fires may come in one call and random ones in another, and
    that the texts of a call resemble one another would tell the model what it is to find out. The same context twice is
    asked once (see `unpacked`).
    """
    distinct = {one.id: one for one in contexts}
    return list(batches([distinct[name] for name in sorted(distinct)], size))


def unpacked(contexts: Sequence[Context], packed: Iterable[Sequence[Context]], found: Iterable[Sequence[T]]) -> list[T]:
    """What was found for each context, in their own order, from what was found pack by pack."""
    by_id = {
        one.id: outcome
        for pack, outcomes in zip(packed, found, strict=True)
        for one, outcome in zip(pack, outcomes, strict=True)
    }
    return [by_id[one.id] for one in contexts]


def show_explanation(text: str) -> str:
    """An explanation as prompts show it: one line, inert as a token is.

    Backslashes stay single, since an explanation names escaped tokens (such as a line end) as prompts show them.
    """
    return "\\".join(show_token(part) for part in one_line(text).split("\\"))
