"""Which architectures there are. Adding one is a module with its class and a line here."""

from __future__ import annotations

from sae.dictionaries.base import Dictionary
from sae.dictionaries.relu_l1 import ReluL1
from sae.errors import BadInput

ARCHITECTURES: dict[str, type[Dictionary]] = {ReluL1.architecture: ReluL1}


def by_saelens_name(name: str, where: str) -> type[Dictionary]:
    """The class that reads SAELens files of architecture `name`; BadInput naming those known otherwise."""
    known = {cls.saelens_architecture: cls for cls in ARCHITECTURES.values()}
    if name not in known:
        raise BadInput(f"{where}: architecture {name!r} cannot be read; known: {', '.join(sorted(known))}")
    return known[name]
