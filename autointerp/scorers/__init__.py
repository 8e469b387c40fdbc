"""Scorers: from simulations and held-out truth to scores."""

from autointerp.scorers.simulation import SAMPLE_SETS, ScoringSettings, SimulationScorer

__all__ = ["SAMPLE_SETS", "ScoringSettings", "SimulationScorer"]
