"""Settings of the simulators, and what they share in building prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from autointerp.prompting import one_line
from autointerp.records import show_token
from autointerp.types import Scale

__all__ = ["SimulatorSettings", "batches", "show_explanation"]

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


def show_explanation(text: str) -> str:
    """An explanation as prompts show it: one line, inert as a token is.

    Backslashes stay single, since an explanation names escaped tokens (such as a line end) as prompts show them.
    """
    return "\\".join(show_token(part) for part in one_line(text).split("\\"))
