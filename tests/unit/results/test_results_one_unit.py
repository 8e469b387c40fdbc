"""A group of one scored unit: its number is shown, and no interval is made up for it."""

from __future__ import annotations

import pandas as pd

from autointerp.results.summary import _numbers


def test_one_scored_unit_of_two_has_its_value_and_no_interval() -> None:
    rows = pd.DataFrame(
        {"status": ["scored", "unscored"], "value": [0.25, None], "reason": [None, "refusal"], "metric": "pearson"}
    )
    found = _numbers(rows, level=0.95)
    assert (found["n_attempted"], found["n_scored"], found["unscored"]) == (2, 1, {"refusal": 1})
    assert (found["mean"], found["median"], found["ci_low"], found["ci_high"]) == (0.25, 0.25, None, None)


def test_a_group_without_a_scored_unit_has_no_number() -> None:
    rows = pd.DataFrame({"status": ["unscored"], "value": [float("nan")], "reason": ["refusal"], "metric": "pearson"})
    assert _numbers(rows, level=0.95)["mean"] is None
