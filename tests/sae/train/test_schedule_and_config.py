"""Schedules at their corners, and settings out of range."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sae.errors import BadInput
from sae.train import TrainConfig, resolve_dtype
from sae.train.schedule import dead_window, l1_coefficient, learning_rate, resample_after


def test_the_paper_s_run_is_resampled_at_the_paper_s_steps() -> None:
    config = TrainConfig(steps=1_000_000)
    assert resample_after(config) == {25_000, 50_000, 75_000, 100_000}
    assert dead_window(config) == 12_500


def test_the_procedure_scales_with_the_run() -> None:
    config = TrainConfig(steps=10_000)
    assert resample_after(config) == {250, 500, 750, 1000}
    assert dead_window(config) == 125


@pytest.mark.parametrize("steps", [1, 2, 10, 39, 40, 41, 80, 1000])
def test_nothing_is_resampled_before_a_window_has_passed_or_after_the_last_step(steps: int) -> None:
    config = TrainConfig(steps=steps)
    assert all(dead_window(config) <= after < steps for after in resample_after(config))


def test_the_learning_rate_rises_stays_and_falls() -> None:
    config = TrainConfig(steps=100, learning_rate=2.0, lr_warmup_fraction=0.04, lr_decay_fraction=0.2)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[4:81] == [2.0] * 77
    assert rates[81] == pytest.approx(2.0 * 19 / 20)
    assert rates[99] == pytest.approx(2.0 * 1 / 20)
    assert min(rates) > 0


def test_without_warm_up_and_decay_the_rate_is_constant() -> None:
    config = TrainConfig(steps=7, learning_rate=0.3, lr_warmup_fraction=0.0, lr_decay_fraction=0.0)
    assert [learning_rate(step, config) for step in range(7)] == [0.3] * 7


def test_the_l1_coefficient_rises_and_stays() -> None:
    config = TrainConfig(steps=10, l1_coefficient=8.0, l1_warmup_fraction=0.4)
    assert [l1_coefficient(step, config) for step in range(10)] == [2.0, 4.0, 6.0] + [8.0] * 7
    assert l1_coefficient(0, TrainConfig(l1_coefficient=8.0)) == 8.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, found 0"),
        ({"batch_size": -1}, "batch_size must be at least 1"),
        ({"expansion": 0}, "expansion must be at least 1"),
        ({"l1_coefficient": -0.1}, "l1_coefficient must be at least 0"),
        ({"l1_coefficient": float("nan")}, "l1_coefficient must be at least 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"lr_decay_fraction": 1.5}, "lr_decay_fraction must be between 0 and 1"),
        ({"lr_warmup_fraction": 0.6, "lr_decay_fraction": 0.6}, "lr_warmup_fraction .* at most 1"),
        ({"adam_beta2": 1.0}, "adam_beta2 must be at least 0 and below 1"),
        ({"resample_fractions": (0.001,)}, "resample_fractions must be between dead_window_fraction"),
        ({"tokens_per_context": 0}, "tokens_per_context must be at least 1"),
        ({"mse_convention": "median"}, "mse_convention must be mean or sum"),
        ({"encoder_init": "zeros"}, "encoder_init must be kaiming_uniform or decoder"),
        ({"dtype": "int8"}, "dtype must be float32 or bfloat16"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        TrainConfig(**settings)


def test_auto_is_bfloat16_where_the_hardware_is_fast_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for amx, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda amx=amx: {"amx_bf16": amx})
        assert resolve_dtype("auto", torch.device("cpu")) == expected
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # processors of another make list nothing of the kind
    assert resolve_dtype("auto", torch.device("cpu")) == "float32"
    assert resolve_dtype("auto", torch.device("cuda")) == "bfloat16"
    assert resolve_dtype("float32", torch.device("cuda")) == "float32"
    with pytest.raises(BadInput, match="dtype 'half' is not known"):
        resolve_dtype("half", torch.device("cpu"))


def test_a_run_from_before_a_setting_is_one_with_the_value_it_had() -> None:
    old = {name: value for name, value in TrainConfig().as_dict().items() if name != "encoder_init"}
    assert TrainConfig().difference(old) is None
    changed = TrainConfig(encoder_init="decoder").difference(old)
    assert changed == "encoder_init is kaiming_uniform there and decoder here"
