"""Explainers: from the explain split of a unit to words for what it responds to."""

from autointerp.explainers.asking import ExplainerSettings
from autointerp.explainers.interval import IntervalExplainer
from autointerp.explainers.token_activation import TokenActivationExplainer

__all__ = ["ExplainerSettings", "IntervalExplainer", "TokenActivationExplainer"]
