"""What a harvest collects and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sae.errors import BadInput

Precision = Literal["float64", "float32"]


@dataclass(frozen=True)
class HarvestSettings:
    """Settings of one harvest; counts are per unit.

    window: tokens of a context. top: top contexts. per_interval: sampled tokens of each of the 13 slices of [0, max].
    random: random contexts, the same for all units. out_of_context: top tokens in other contexts. tokens: how much of
    the split to read, spread evenly over it (None: all). batch: blocks in a forward pass; speed and memory depend on
    it, the result does not.

    precision: what activations are computed in. They are rounded to float32 before they are compared, counted or
    stored. The error of float64 is some 1e-15 of a value, the spacing of float32 6e-8 of it, so with float64 the
    result is the same on another processor or in batches of another shape, but for one value in 1e7 or so that lies
    on the border between two float32 numbers and differs in its last bit. float32 is faster and has no such property.

    Raises BadInput for a setting out of range.
    """

    window: int = 64
    top: int = 40
    per_interval: int = 8
    random: int = 100
    out_of_context: int = 40
    precision: Precision = "float64"
    seed: int = 0
    tokens: int | None = None
    batch: int = 32

    def __post_init__(self) -> None:
        lowest = {"window": 2, "top": 1, "per_interval": 1, "random": 0, "out_of_context": 0, "seed": 0, "batch": 1}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise BadInput(f"harvest: {_option(name)} is {getattr(self, name)}; it must be at least {least}")
        if self.tokens is not None and self.tokens < 1:
            raise BadInput(f"harvest: --tokens is {self.tokens}; it must be at least 1 (leave it out to read all)")
        if self.precision not in get_args(Precision):
            raise BadInput(f"harvest: --precision {self.precision!r}; choose {' or '.join(get_args(Precision))}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
