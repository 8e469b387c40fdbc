"""The histogram of log10 densities: two modes, of which TM calls the lower one "ultralow density"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
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
    # Bins of a tenth of a decade, from the smallest density that can be seen to 1.
    lowest = min(np.floor(np.log10(1 / sparsity.tokens)), -1.0)
    axes.hist(density, bins=np.arange(lowest, 0.05, 0.1).tolist(), color=_BLUE, edgecolor="white", linewidth=0.3)
    for limit, label in ((ULTRA_LOW_DENSITY, "ultra-low"), (HIGH_DENSITY, "1%")):
        if np.log10(limit) >= lowest:
            axes.axvline(np.log10(limit), color=_VERMILION, linestyle="--", linewidth=1.2)
            axes.annotate(
                label,
                (np.log10(limit), 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(4, 0),
                textcoords="offset points",
                va="top",
                fontsize=9,
                color=_VERMILION,
            )
    axes.set_xlabel("log10 of density (part of the tokens on which a latent is above 0)")
    axes.set_ylabel("latents")
    axes.set_title(
        f"{name}: {len(fired):,} latents on {sparsity.tokens:,} tokens, L0 {sparsity.l0:.1f}\n"
        f"{sparsity.dead:,} dead latents (silent on all these tokens) have no bar",
        fontsize=10,
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write stem.svg and stem.png; the same figure gives the same bytes."""
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    with rc_context({"svg.hashsalt": stem.name, "svg.fonttype": "none"}):
        figure.savefig(paths[0], metadata={"Date": None})
    figure.savefig(paths[1], dpi=160)
    return paths
