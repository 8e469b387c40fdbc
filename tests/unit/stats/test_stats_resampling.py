"""What is drawn together, within which strata, and that the draws have the variance they should."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.stats import stratum_group
from autointerp.stats.resampling import Design, design_of
from autointerp.types import Stratum


def groups(design: Design) -> set[frozenset[int]]:
    return {frozenset(stratum.tolist()) for stratum in design.strata}


def test_strata_have_four_groups() -> None:
    assert {stratum_group(stratum) for stratum in Stratum} == {"top", "slices", "random", "out_of_context"}
    assert stratum_group(Stratum.SLICE_0) == stratum_group(Stratum.SLICE_12) == "slices"


def test_records_of_one_cluster_are_one_unit() -> None:
    design = design_of(["a", "b", "a", "c"], ["top", "top", "top", "top"], [9, 9, 9, 9])
    assert design.cluster.tolist() == [0, 1, 0, 2]
    assert design.n_clusters == 3
    assert design.degrees_of_freedom == 2


def test_five_top_and_five_random_contexts_have_eight_degrees_of_freedom() -> None:
    design = design_of([str(i) for i in range(10)], ["top"] * 5 + ["random"] * 5, [64] * 10)
    assert groups(design) == {frozenset(range(5)), frozenset(range(5, 10))}
    assert design.degrees_of_freedom == 8


def test_a_cluster_of_two_strata_goes_where_most_of_its_tokens_are() -> None:
    # cluster b has 9 tokens in "top" and 18 in "random"
    clusters = ["a", "b", "b", "b", "c", "d", "e"]
    strata = ["top", "top", "random", "random", "random", "random", "top"]
    design = design_of(clusters, strata, [9] * 7)
    assert groups(design) == {frozenset({0, 4}), frozenset({1, 2, 3})}


def test_a_cluster_divided_evenly_goes_to_the_first_stratum_by_name() -> None:
    design = design_of(["a", "a", "b", "c", "d", "e"], ["top", "random", "top", "top", "random", "random"], [9] * 6)
    assert groups(design) == {frozenset({0, 3, 4}), frozenset({1, 2})}


def test_strata_of_one_cluster_are_drawn_as_one() -> None:
    design = design_of(list("abcd"), ["top", "top", "random", "slices"], [9] * 4)
    assert groups(design) == {frozenset({0, 1}), frozenset({2, 3})}


def test_a_stratum_of_one_cluster_alone_joins_the_smallest() -> None:
    design = design_of(list("abcdef"), ["random"] * 3 + ["top"] * 2 + ["slices"], [9] * 6)
    assert groups(design) == {frozenset({0, 1, 2}), frozenset({3, 4, 5})}


def test_a_sample_of_one_cluster_has_no_degree_of_freedom() -> None:
    assert design_of(["a", "a"], ["top", "random"], [9, 9]).degrees_of_freedom == 0


def test_multiplicities_keep_the_size_of_every_stratum() -> None:
    design = design_of([f"{i:02}" for i in range(9)], ["top"] * 2 + ["random"] * 7, [9] * 9)
    drawn = design.draw(200, np.random.default_rng(0))
    assert drawn.shape == (200, 9)
    assert (drawn >= 0).all()
    for stratum in design.strata:
        assert drawn[:, stratum].sum(axis=1) == pytest.approx(len(stratum))


def test_the_resampled_variance_of_a_mean_is_the_textbook_one() -> None:
    # Variance of a stratified mean: sum over strata of (n_h / n)^2 s_h^2 / n_h, s_h^2 with n_h - 1 below. The plain
    # bootstrap, with n_h draws, would give 4/5 of it for five clusters.
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(5, 2, 5), rng.normal(0, 1, 5)])
    design = design_of([str(i) for i in range(10)], ["top"] * 5 + ["random"] * 5, [1] * 10)
    means = design.draw(200_000, rng) @ values / 10
    expected = sum(0.25 * values[part].var(ddof=1) / 5 for part in (slice(0, 5), slice(5, 10)))
    assert means.var() == pytest.approx(expected, rel=0.02)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
