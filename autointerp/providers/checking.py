"""What a provider can say of a model before it is asked."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["Checkable"]


@runtime_checkable
class Checkable(Protocol):
    """A provider that can see on this machine that a model could not be asked; of another nothing is known before."""

    def check(self, model: str) -> None:
        """Raises Authentication where no key is there, and BadInput for files that cannot be used. Asks nobody."""
        ...
