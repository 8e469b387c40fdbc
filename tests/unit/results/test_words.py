"""What a run is said to show: the sentence follows from interval and rank test, never from the mean alone."""

from typing import Any

import pytest

from autointerp.results import verdicts


def summary(difference: float, low: float, high: float, p_value: float = 0.01) -> dict[str, Any]:
    """Two scorers; the protocol ranks by the second in the alphabet."""
    group = {"n_attempted": 9, "n_scored": 8, "unscored": {"refusal": 1}, "median": 0.3, "ci_low": 0.1, "ci_high": 0.4}
    features, neurons = {**group, "mean": 0.3 + difference}, {**group, "mean": 0.3}
    gap = {"mean": difference, "ci_low": low, "ci_high": high, "p_value": p_value, "n_pairs": 8}
    compared = {"difference": difference, "ci_low": low, "ci_high": high, "p_value": p_value, "effect_size": 0.1}
    none = dict.fromkeys(compared)
    return {
        "level": 0.95,
        "summary": {"feature": {"p.z": features, "p.a": features}, "neuron": {"p.z": neurons, "p.a": neurons}},
        "comparison": {"p.a": compared, "p.constant": none, "p.z": compared},
        "controls": {
            "control_other_explanation": {"neuron": {"p.z": {**group, "mean": 0.1, "gap": gap}}},
            "control_shuffled_weights": {"feature": {"p.z": {**group, "mean": 0.25}}},
        },
        "rankings": {"p": [{"scorer": "p.z"}]},
    }


@pytest.mark.parametrize(
    ("numbers", "who", "own"),
    [
        (
            (0.2, 0.1, 0.3, 0.33),
            "Features and neurons cannot be told apart",
            "cannot be told apart from the explanation",
        ),
        ((-0.2, -0.3, -0.1, 0.5), "Features and neurons cannot be told apart", "cannot be told apart from the explan"),
        ((0.2, 0.1, 0.3), "Features score higher than neurons", "beats the explanation of another neuron"),
        ((-0.2, -0.3, -0.1), "Features score LOWER than neurons", "is WORSE than the explanation of another neuron"),
        ((0.2, -0.01, 0.41), "Features and neurons cannot be told apart", "cannot be told apart from the explanation"),
        ((-0.2, -0.41, 0.0), "Features and neurons cannot be told apart", "cannot be told apart from the explanation"),
    ],
)
def test_who_is_ahead_is_said_by_the_interval_and_the_rank_test(numbers: tuple[float, ...], who: str, own: str) -> None:
    """Two units a group have an interval of three resamples, and no rank test can tell them apart."""
    compared, gap, shuffled = verdicts(summary(*numbers))["p.z"]
    assert compared.startswith(who + ": mean")
    assert "8 scored of 9" in compared
    assert own in gap
    assert "mean 0.250 (0.100 to 0.400; 8 scored of 9)" in shuffled


def test_the_scorers_that_rank_come_first_and_those_without_a_number_not_at_all() -> None:
    assert list(verdicts(summary(0.2, 0.1, 0.3))) == ["p.z", "p.a"]
