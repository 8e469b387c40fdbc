"""Scorers: from simulations and held-out truth to scores."""

from autointerp.scorers.simulation import METRICS, SAMPLE_SETS, ScoringSettings, SimulationScorer

__all__ = ["METRICS", "SAMPLE_SETS", "ScoringSettings", "SimulationScorer"]
