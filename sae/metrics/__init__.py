"""How good a dictionary is: sparsity and densities, reconstruction, loss recovered."""

from sae.metrics.figure import density_figure, save_figure
from sae.metrics.measuring import loss_recovered, measure
from sae.metrics.results import LossRecovered, Metrics, Reconstruction, Sparsity

__all__ = [
    "LossRecovered",
    "Metrics",
    "Reconstruction",
    "Sparsity",
    "density_figure",
    "loss_recovered",
    "measure",
    "save_figure",
]
