"""A simulator that asks a model of its own, whichever model the scorer was given."""

from __future__ import annotations

from collections.abc import Sequence

from autointerp.protocols import LanguageModel, Simulator
from autointerp.types import Context, Explanation, Simulation, Unscored

__all__ = ["SimulatorOnModel"]


class SimulatorOnModel:
    """Implements `Simulator` by another one and a model."""

    def __init__(self, simulator: Simulator, model: LanguageModel) -> None:
        self._simulator = simulator
        self._model = model

    @property
    def name(self) -> str:
        return self._simulator.name

    @property
    def version(self) -> int:
        return self._simulator.version

    async def simulate(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel, seed: int
    ) -> Sequence[Simulation | Unscored]:
        """See `autointerp.protocols.Simulator`; `model` is not asked."""
        return await self._simulator.simulate(explanation, contexts, self._model, seed)
