"""The histogram of log10 densities: two modes, of which TM calls the lower one "ultralow density"."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sae.metrics.results import HIGH_DENSITY, ULTRA_LOW_DENSITY, Sparsity

_BLUE, _VERMILION = "#0072B2", "#D55E00"  # Okabe and Ito: told apart with any colour vision


def density_figure(fired: npt.NDArray[np.int64], sparsity: Sparsity, name: str) -> Figure:
    """Bars of log10(density) of the latents that fired; the dead ones, which have no logarithm, are in the title.

    `fired` int64 [d_sae]: on how many of `sparsity.tokens` tokens each latent fired.
    """
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    density = np.log10(fired[fired > 0] / sparsity.tokens)
    lowest = min(int(np.floor(np.log10(1 / sparsity.tokens))), -1)  # the smallest density that can be seen
    bins = np.linspace(lowest, 0, -10 * lowest + 1)  # tenths of a decade, up to a latent that always fires
    axes.hist(density, bins=bins.tolist(), color=_BLUE, edgecolor="white", linewidth=0.3)
    if np.log10(ULTRA_LOW_DENSITY) > lowest:
        _mark(axes, ULTRA_LOW_DENSITY, "ultra-low ", side="right")
    if np.log10(HIGH_DENSITY) > lowest:
        _mark(axes, HIGH_DENSITY, " above 1%", side="left")
    axes.set_xlabel("log10 of density (part of the tokens on which a latent is above 0)")
    axes.set_ylabel("latents")
    axes.set_title(
        f"{name}: {len(fired):,} latents on {sparsity.tokens:,} tokens, L0 {sparsity.l0:.1f}\n"
        f"{sparsity.dead:,} dead latents (silent on all these tokens) have no bar",
        fontsize=10,
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _mark(axes: Axes, density: float, label: str, *, side: Literal["left", "right"]) -> None:
    """A dashed line at a density, with its label's `side` at the line."""
    axes.axvline(np.log10(density), color=_VERMILION, linestyle="--", linewidth=1.2)
    place = axes.get_xaxis_transform()
    axes.text(np.log10(density), 0.97, label, transform=place, ha=side, va="top", fontsize=9, color=_VERMILION)


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write stem.svg and stem.png; the same figure gives the same bytes."""
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    with rc_context({"svg.hashsalt": stem.name, "svg.fonttype": "none"}):
        figure.savefig(paths[0], metadata={"Date": None})
    figure.savefig(paths[1], dpi=160)
    return paths
