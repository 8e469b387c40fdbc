"""Baselines: what can be predicted without an LLM, by hand."""

from __future__ import annotations

import numpy as np

from autointerp.simulators import BASELINES, constant, token_lookup
from autointerp.types import Context, ExplainSplit, Scale
from tests.support.method import make_record

EXPLAIN = ExplainSplit(
    (
        make_record(["the", " cat", " sat"], [0.0, 4.0, 1.0], number=1),
        make_record(["the", " cat", "\n"], [0.5, 2.0, -0.5], number=2),
    )
)
CONTEXT = Context((" cat", "the", " dog", "\n", "cat"), "d", "prose", 0)


def test_token_lookup_is_the_mean_raw_activation_and_zero_for_the_unseen() -> None:
    (made,) = token_lookup(EXPLAIN, [CONTEXT])
    np.testing.assert_allclose(made.expected, [3.0, 0.25, 0.0, -0.5, 0.0])
    assert made.scale is Scale.RAW
    assert (made.explanation_id, made.context_id, made.provenance.method) == ("", CONTEXT.id, "token_lookup@1")
    assert made.provenance.request_keys == ()


def test_constant_is_the_mean_over_all_tokens() -> None:
    first, second = constant(EXPLAIN, [CONTEXT, CONTEXT])
    np.testing.assert_allclose(first.expected, np.full(5, 7.0 / 6))
    np.testing.assert_allclose(second.expected, first.expected)


def test_baselines_are_found_by_the_names_presets_use() -> None:
    assert dict(BASELINES) == {"token_lookup": token_lookup, "constant": constant}
