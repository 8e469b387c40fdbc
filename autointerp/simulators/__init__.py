"""Simulators: from an explanation and bare contexts to predicted activations. None is ever handed an activation."""

from autointerp.simulators.all_at_once import AllAtOnceSimulator
from autointerp.simulators.baselines import BASELINES, constant, token_lookup
from autointerp.simulators.json_reply import JsonSimulator
from autointerp.simulators.on_model import SimulatorOnModel
from autointerp.simulators.settings import SimulatorSettings

__all__ = [
    "BASELINES",
    "AllAtOnceSimulator",
    "JsonSimulator",
    "SimulatorOnModel",
    "SimulatorSettings",
    "constant",
    "token_lookup",
]
