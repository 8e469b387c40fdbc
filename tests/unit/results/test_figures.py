"""The figures hold what the table says: counted back from the drawn bars."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.patches import Polygon

from autointerp.results.figures import _against_density, _edges, _histogram
from autointerp.results.report import _weight


@pytest.mark.parametrize(
    ("lowest", "width", "first", "n"), [(0.2, 0.1, -0.4, 15), (-0.4, 0.05, -0.4, 29), (-0.41, 0.1, -0.5, 16)]
)
def test_bins_reach_from_the_lowest_score_to_one_with_an_edge_at_zero(
    lowest: float, width: float, first: float, n: int
) -> None:
    edges = _edges(lowest, width)
    assert (edges[0], edges[-1], len(edges)) == (first, 1.0, n)
    assert 0.0 in edges
    assert np.diff(edges) == pytest.approx(width)


def frame(scores: dict[tuple[str, str], list[float | None]]) -> pd.DataFrame:
    rows = [
        {
            "role": role,
            "kind": kind,
            "metric": "pearson",
            "value": value,
            "status": "scored" if value is not None else "",
        }
        for (role, kind), values in scores.items()
        for value in values
    ]
    return pd.DataFrame(rows)


def test_controls_have_a_panel_of_their_own_and_every_group_adds_to_a_hundred() -> None:
    shown = frame(
        {
            ("explanation", "feature"): [0.92, 0.95, 0.5, None],
            ("explanation", "neuron"): [0.12, -0.7],
            ("control_other_explanation", "feature"): [0.0, 0.1],
        }
    )
    own, controls = _histogram(shown, "p.simulation", "a model").axes
    labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (own, controls)]
    assert labels == [
        ["features: median 0.92, 3 scored of 4", "neurons: median -0.29, 2 scored of 2"],
        ["features, another feature's explanation: median 0.05, 2 scored of 2"],
    ]
    outlines = [patch.get_xy() for patch in own.patches if isinstance(patch, Polygon)]
    assert len(outlines) == 2
    for outline in outlines:
        tops = outline[1:-1:2, 1]
        assert tops.sum() == pytest.approx(100)


def test_a_run_without_scores_says_so() -> None:
    (axes,) = _histogram(frame({("explanation", "feature"): [None]}), "p.simulation", "a model").axes
    assert [text.get_text() for text in axes.texts] == ["no unit of this run was scored"]


def test_the_scorer_that_ranks_is_shown_first_and_histograms_before_the_rest() -> None:
    names = ["density-p.simulation", "density-p.simulation.random_only", "histogram-p.simulation", "scorers",
             "histogram-p.simulation.random_only"]  # fmt: skip
    assert [path.stem for path in sorted((Path(f"{name}.svg") for name in names), key=_weight)] == [
        "histogram-p.simulation",
        "scorers",
        "density-p.simulation",
        "histogram-p.simulation.random_only",
        "density-p.simulation.random_only",
    ]


def test_many_units_are_drawn_as_a_map_that_counts_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.results.figures._MOST_POINTS", 500)
    rng = np.random.default_rng(0)
    parts = {
        ("explanation", "feature"): 400,
        ("explanation", "neuron"): 300,
        ("control_other_explanation", "neuron"): 9,
    }
    shown = frame({group: rng.uniform(-0.6, 1, n).tolist() for group, n in parts.items()})
    shown["density"] = 10 ** rng.uniform(-5, -1, len(shown))
    shown["ci_low"], shown["ci_high"] = shown["value"] - 0.1, shown["value"] + 0.3
    features, neurons = (
        axes for axes in _against_density(shown, "p.simulation", "50% interval").axes if axes.get_title()
    )
    assert features.get_title() == "features: 400 scored; 50% interval typically ±0.20"
    for axes, n in ((features, 400), (neurons, 300)):
        (hexagons,) = (one for one in axes.collections if isinstance(one, PolyCollection))
        counts = hexagons.get_array()
        assert counts is not None
        assert counts.sum() == n
        assert hexagons.get_rasterized()
    few = _against_density(shown.iloc[:50], "p.simulation", "50% interval").axes
    assert len(few) == 1
