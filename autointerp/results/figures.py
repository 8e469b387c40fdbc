"""Figures a person can read: features beside neurons with their controls, scores by scorer, score against density.

Every figure is written as SVG and PNG. Colours are Okabe and Ito's, told apart with any colour vision, and every series
also differs in line or marker. The same run gives the same bytes of SVG.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from autointerp.results.manifest import read_manifest
from autointerp.results.reading import primary_rows
from autointerp.results.summary import summarise
from autointerp.results.words import interval_name

__all__ = ["write_figures"]

_FINE_BINS = 60
"""Units a group needs for bins of 0.05; with fewer they are 0.1 wide."""
_MOST_POINTS = 5000
"""Units a figure shows one by one; more would hide one another, and make a file that nothing opens."""
_DENSITY = "density: share of tokens on which the unit fires (log scale)"
_COLUMNS = ("kind", "metric", "role", "status", "value", "ci_low", "ci_high", "density")

FEATURE, NEURON, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "autointerp",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.dpi": 120,
}


@dataclass(frozen=True, slots=True)
class _Series:
    """One population of units in a figure."""

    role: str
    kind: str
    label: str
    colour: str
    line: str
    marker: str


_SERIES = (
    _Series("explanation", "feature", "features", FEATURE, "-", "o"),
    _Series("explanation", "neuron", "neurons", NEURON, "-", "s"),
    _Series("control_other_explanation", "feature", "features, another feature's explanation", FEATURE, "--", "o"),
    _Series("control_other_explanation", "neuron", "neurons, another neuron's explanation", NEURON, "--", "s"),
    _Series("control_shuffled_weights", "feature", "features of the weight-shuffled subject", GREEN, ":", "^"),
    _Series("control_shuffled_weights", "neuron", "neurons of the weight-shuffled subject", GREY, ":", "v"),
)


def write_figures(folder: Path, summary: Mapping[str, Any] | None = None) -> list[Path]:
    """Draws all figures of a run into DIR/figures and returns their paths.

    summary: the run's, where it is there already (see `summarise`). Raises BadInput where there is no run.
    """
    summary = summarise(folder, places=1) if summary is None else summary
    model = _model_name(folder)
    out = folder / "figures"
    out.mkdir(exist_ok=True)
    paths: list[Path] = []
    with mpl.rc_context(_STYLE):
        for scorer in _simulation_scorers(primary_rows(folder, ["scorer", "role"])):
            shown = primary_rows(folder, _COLUMNS, scorer)
            paths += _save(_histogram(shown, scorer, model), out / f"histogram-{scorer}")
            paths += _save(_against_density(shown, scorer, interval_name(summary)), out / f"density-{scorer}")
        paths += _save(_by_scorer(summary), out / "scorers")
    return paths


def _simulation_scorers(frame: pd.DataFrame) -> list[str]:
    """Scorers that an LLM took part in; where a run has none, those of its baselines."""
    own = sorted(frame.loc[frame["role"] == "explanation", "scorer"].unique())
    return own or sorted(name for name in frame["scorer"].unique() if not name.endswith("constant"))


def _model_name(folder: Path) -> str:
    served = sorted({model["asked"] for model in read_manifest(folder)["models"]})
    return ", ".join(served) or "no LLM"


def _save(figure: Figure, stem: Path) -> list[Path]:
    paths = [stem.with_name(stem.name + suffix) for suffix in (".svg", ".png")]
    figure.savefig(paths[0], metadata={"Date": None})
    figure.savefig(paths[1], metadata={"Software": None}, dpi=150)
    return paths


def _metric(frame: pd.DataFrame) -> str:
    return {"pearson": "Pearson", "spearman": "Spearman"}.get(
        str(frame["metric"].iloc[0]), str(frame["metric"].iloc[0])
    )


def _present(frame: pd.DataFrame) -> Iterator[tuple[_Series, pd.DataFrame, int]]:
    """(series, its scored rows, how many were attempted) for each population that is in the run."""
    only_baselines = set(frame["role"].unique()) == {"baseline"}
    for series in _SERIES:
        role = "baseline" if only_baselines and series.role == "explanation" else series.role
        rows = frame[(frame["role"] == role) & (frame["kind"] == series.kind)]
        if len(rows):
            yield series, rows[rows["status"] == "scored"], len(rows)


def _histogram(frame: pd.DataFrame, scorer: str, model: str) -> Figure:
    """Share of units by score: own explanations above, the controls below on the same axis; triangles are medians."""
    present = list(_present(frame))
    panels = [[one for one in present if (one[0].role == "explanation") is own] for own in (True, False)]
    panels = [panel for panel in panels if panel] or [[]]
    figure = Figure(figsize=(8.2, 1.6 + 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    values = frame.loc[frame["status"] == "scored", "value"]
    largest = max((len(scored) for _, scored, _ in present), default=0)
    edges = _edges(float(values.min()) if len(values) else 0.0, 0.1 if largest < _FINE_BINS else 0.05)
    for one, panel in zip(axes, panels, strict=True):
        for series, scored, attempted in panel:
            if len(scored):
                _draw_shares(one, series, scored, attempted, edges)
        one.set_xlim(edges[0], edges[-1])
        one.set_ylabel("units of each group (%)")
        _legend(one, inside=True)
    if len(panels) > 1:
        axes[1].set_title("controls")
    axes[-1].set_xlabel(f"score: {_metric(frame)} correlation of simulated and true activations (triangles: medians)")
    axes[0].set_title(f"{scorer}: features against neurons\nexplained and simulated by {model}")
    return figure


def _edges(lowest: float, width: float) -> list[float]:
    """Edges of bins of one width from -0.4, or below the lowest score, to 1, with 0 among them."""
    steps = max(round(0.4 / width), int(np.ceil(-lowest / width)))
    return [round(width * step, 6) for step in range(-steps, round(1 / width) + 1)]


def _draw_shares(axes: Axes, series: _Series, scored: pd.DataFrame, attempted: int, edges: list[float]) -> None:
    weights = np.full(len(scored), 100 / len(scored))
    look: dict[str, Any] = {"color": series.colour, "linestyle": series.line}
    own = series.role == "explanation"
    if own:
        axes.hist(scored["value"], edges, weights=weights, color=series.colour, alpha=0.28)
    label = f"{series.label}: median {scored['value'].median():.2f}, {len(scored)} scored of {attempted}"
    axes.hist(
        scored["value"], edges, weights=weights, histtype="step", linewidth=1.7 if own else 1.3, label=label, **look
    )
    axes.plot(
        scored["value"].median(),
        -0.03,
        marker="^",
        color=series.colour,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        markersize=6,
        fillstyle="full" if own else "none",
        zorder=5,
    )


def _legend(axes: Axes, *, inside: bool = False) -> None:
    """A legend, or the plain word that there is nothing to see."""
    if axes.get_legend_handles_labels()[0]:
        if inside:
            axes.margins(y=0.1 + 0.12 * len(axes.get_legend_handles_labels()[0]))  # room above the bars
            axes.legend(loc="best")
            return
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.legend(loc="outside lower left")
    else:
        axes.text(0.5, 0.5, "no unit of this run was scored", transform=axes.transAxes, ha="center", color=GREY)


def _against_density(frame: pd.DataFrame, scorer: str, interval: str) -> Figure:
    """Score against how often a unit fires: a point for each unit, or a map where they are many."""
    shown = [
        (series, scored)
        for series, scored, _ in _present(frame)
        if series.role != "control_other_explanation" and len(scored)
    ]
    if sum(len(scored) for _, scored in shown) > _MOST_POINTS:
        return _density_maps(shown, scorer, _metric(frame), interval)
    figure = Figure(figsize=(8.2, 5.8), layout="constrained")
    axes = figure.subplots()
    for series, scored in shown:
        with_interval = scored.dropna(subset=["ci_low", "ci_high"])
        axes.vlines(
            with_interval["density"],
            with_interval["ci_low"],
            with_interval["ci_high"],
            color=series.colour,
            alpha=0.25 if len(scored) < 500 else 0.04,
            linewidth=1,
        )
        axes.scatter(
            scored["density"],
            scored["value"],
            s=16 if len(scored) < 500 else 4,
            marker=series.marker,
            color=series.colour,
            alpha=0.8,
            label=series.label,
            linewidths=0,
        )
    axes.set_xscale("log")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel(_DENSITY)
    axes.set_ylabel(f"score ({_metric(frame)}), {interval} where it could be computed")
    axes.set_title(f"{scorer}: score against density")
    _legend(axes)
    return figure


def _density_maps(shown: list[tuple[_Series, pd.DataFrame]], scorer: str, metric: str, interval: str) -> Figure:
    """One panel for each population, all with the same axes: darker hexagons hold more units (logarithmic); the line is
    the median score of the units of about one density, the band its quartiles."""
    figure = Figure(figsize=(8.2, 1.0 + 3.0 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), sharex=True, sharey=True, squeeze=False)[:, 0]
    everyone = pd.concat([scored[["density", "value"]] for _, scored in shown])
    density = everyone.loc[everyone["density"] > 0, "density"]
    extent = (*np.log10(_widened(float(density.min()), float(density.max()))), min(-0.4, everyone["value"].min()), 1.0)
    for axes, (series, scored) in zip(panels, shown, strict=True):
        firing = scored[scored["density"] > 0]
        colours = LinearSegmentedColormap.from_list("units", [to_rgba(series.colour, 0.06), to_rgba(series.colour)])
        drawn = axes.hexbin(
            firing["density"], firing["value"], gridsize=(60, 28), xscale="log", bins="log", mincnt=1, cmap=colours,
            extent=extent, linewidths=0.1, rasterized=True,
        )  # fmt: skip
        figure.colorbar(drawn, ax=axes, label="units", pad=0.01)
        _quartiles(axes, firing)
        half = ((scored["ci_high"] - scored["ci_low"]) / 2).median()
        typical = "" if np.isnan(half) else f"; {interval} typically ±{half:.2f}"
        axes.set_title(f"{series.label}: {len(scored):,} scored{typical}")
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_ylabel(f"score ({metric})")
    panels[-1].set_xlabel(_DENSITY)
    title = f"{scorer}: score against density (line: median, dashed: quartiles)"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _widened(low: float, high: float) -> tuple[float, float]:
    """Limits of an axis between which there is something, even where all units have one density."""
    return low / 1.1, high * 1.1


def _quartiles(axes: Axes, rows: pd.DataFrame) -> None:
    """Median and quartiles of the score in twenty groups of units of about the same density."""
    order = rows.sort_values("density")
    groups = [group for group in np.array_split(np.arange(len(order)), 20) if group.size]
    place = [float(order["density"].iloc[group].median()) for group in groups]
    for share, line in ((0.25, "--"), (0.5, "-"), (0.75, "--")):
        values = [float(order["value"].iloc[group].quantile(share)) for group in groups]
        axes.plot(place, values, color="black", linestyle=line, linewidth=1.4 if share == 0.5 else 0.8)


def _by_scorer(summary: Mapping[str, Any]) -> Figure:
    """Mean score of each population under each scorer, with its interval."""
    rows = _means(summary)
    figure = Figure(figsize=(8.2, 1.2 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (_, colour, marker, one) in enumerate(rows):
        y = len(rows) - 1 - place
        if one["ci_low"] is not None:
            axes.hlines(y, one["ci_low"], one["ci_high"], color=colour, linewidth=2)
        axes.plot(one["mean"], y, marker=marker, color=colour, markersize=7)
        axes.annotate(
            f"{one['n_scored']} of {one['n_attempted']}",
            (1.01, y),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            va="center",
            color=GREY,
        )
    axes.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)], fontsize=8.5)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(f"mean score over units, {interval_name(summary)} (right: scored of attempted)")
    axes.set_title("Mean score by scorer")
    return figure


def _means(summary: Mapping[str, Any]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """(label, colour, marker, numbers) of every population with a mean, scorer by scorer."""
    look = {"feature": (FEATURE, "o"), "neuron": (NEURON, "s")}
    rows = []
    for scorer in sorted({name for kinds in summary["summary"].values() for name in kinds}):
        for kind, scorers in summary["summary"].items():
            if scorer in scorers and scorers[scorer]["mean"] is not None:
                rows.append((f"{scorer}, {kind}s", *look.get(kind, (GREY, "D")), scorers[scorer]))
        for role, kinds in summary["controls"].items():
            for kind, scorers in kinds.items():
                if scorer in scorers and scorers[scorer]["mean"] is not None:
                    name = {"control_other_explanation": "another's explanation"}.get(role, "shuffled weights")
                    rows.append((f"{scorer}, {kind}s, {name}", GREEN, "x", scorers[scorer]))
    return rows
