"""Training: the order of the data, the schedule, learning, and going on after a kill to the same bits."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file

from sae.errors import BadInput
from sae.subjects import OneLayerConfig, OneLayerTransformer, Trainer, TrainingData, TrainingSettings
from sae.subjects.batches import BlockOrder, inputs_and_targets, spread_rows
from sae.subjects.checkpoints import CHECKPOINT
from sae.subjects.training import LOG, TrainingProgress

CONFIG = OneLayerConfig(d_model=32, n_heads=2, d_mlp=64, d_vocab=50, n_ctx=16)
SETTINGS = TrainingSettings(
    seed=7,
    tokens=60 * 4 * 16,
    batch=4,
    lr=1e-2,
    checkpoint_every=20,
    log_every=15,
    validate_every=25,
    validation_blocks=4,
    dtype="float32",
)


def copying_text(n_blocks: int, seed: int) -> NDArray[np.uint16]:
    """Random pairs "a b a b": half of the tokens can be known, by attention to two tokens before."""
    pairs = np.random.default_rng(seed).integers(1, 50, (n_blocks * 4, 2))
    return np.repeat(pairs[:, None], 2, axis=1).reshape(n_blocks, 16).astype(np.uint16)


def data(n_blocks: int = 100) -> TrainingData:
    return TrainingData(copying_text(n_blocks, 1), copying_text(20, 2), "copying text")


def checkpoint_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The weights and Adam's moments of a folder's checkpoint."""
    return load_file(folder / CHECKPOINT)


def log_without_times(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    times = {"seconds", "tokens_per_second"}
    return [{key: value for key, value in line.items() if key not in times} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    assert log_without_times(one) == log_without_times(other)
    first, second = checkpoint_tensors(one), checkpoint_tensors(other)
    assert first.keys() == second.keys()
    assert any(name.endswith("exp_avg_sq") for name in first)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


class Killed(Exception):
    """Thrown by a test in the middle of a run."""


def killed_at(step: int) -> Callable[[TrainingProgress], None]:
    def on_step(now: TrainingProgress) -> None:
        if now.step == step:
            raise Killed

    return on_step


def test_an_epoch_uses_each_block_once_in_another_order_than_the_next() -> None:
    order = BlockOrder(n_blocks=23, batch=4, seed=0)  # 22 usable: batches straddle the epochs
    rows = np.concatenate([order(step) for step in range(11)])
    first, second = rows[:22], rows[22:]
    assert sorted(first) == sorted(second) == list(range(22))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.sort(first))


def test_a_steps_blocks_depend_on_seed_and_step_alone() -> None:
    one, other = BlockOrder(50, 8, seed=3), BlockOrder(50, 8, seed=3)
    [one(step) for step in range(30)]
    assert np.array_equal(one(17), other(17))
    assert not np.array_equal(BlockOrder(50, 8, seed=4)(17), other(17))


def test_every_position_has_its_target_and_the_last_one_is_in_the_next_block() -> None:
    blocks = np.arange(24, dtype=np.uint16).reshape(4, 6)
    tokens, targets = inputs_and_targets(blocks, np.array([2, 0]))
    assert tokens.tolist() == [[12, 13, 14, 15, 16, 17], [0, 1, 2, 3, 4, 5]]
    assert targets.tolist() == [[13, 14, 15, 16, 17, 18], [1, 2, 3, 4, 5, 6]]


def test_validation_blocks_are_spread_over_the_split() -> None:
    assert spread_rows(11, 5).tolist() == [0, 2, 4, 6, 8]
    assert spread_rows(4, 100).tolist() == [0, 1, 2]
    with pytest.raises(BadInput, match="validation split holds 1 blocks"):
        spread_rows(1, 5)


def test_the_rate_warms_up_and_then_follows_a_cosine_to_zero() -> None:
    settings = replace(SETTINGS, lr=0.4, warmup=0.1)
    rates = [settings.learning_rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.04 * k for k in range(1, 11)])
    assert rates[10] == 0.4
    assert rates[55] == pytest.approx(0.2)  # halfway down
    assert rates[99] == pytest.approx(0.4 * (1 + math.cos(math.pi * 89 / 90)) / 2)
    assert all(a > b for a, b in pairwise(rates[10:]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_learns_what_can_be_learnt_of_a_structured_text(tmp_path: Path, dtype: str) -> None:
    settings = replace(SETTINGS, tokens=400 * 8 * 16, batch=8, dtype=dtype, log_every=50)
    result = Trainer(CONFIG, settings, data(2000), tmp_path).run()
    log = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    floor = math.log(49) / 2  # nats: the first two of each four tokens cannot be known
    assert log[0]["loss"] > 3
    assert floor - 0.1 < result["validation_loss"] < 0.75 * math.log(49)
    assert log[-1]["loss"] < log[0]["loss"]
    assert result["dtype"] == dtype


def test_the_summary_says_what_was_done(tmp_path: Path) -> None:
    settings = replace(SETTINGS, tokens=60 * 64 - 1)
    trainer = Trainer(CONFIG, settings, data(81), tmp_path)
    result = trainer.run()
    assert (result["steps"], result["tokens"]) == (60, 60 * 64)
    assert result["epochs"] == 3  # 240 blocks of 80 usable
    assert result["validation_tokens"] == 19 * 16
    tokens, targets = inputs_and_targets(data().validation, np.arange(19))
    with torch.no_grad():
        expected = F.cross_entropy(trainer.model(tokens).flatten(0, 1), targets.flatten())
    assert result["validation_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert json.loads(json.dumps(result)) == result | {"betas": [0.9, 0.99]}


def test_a_step_is_torchs_own_adam_on_torchs_own_loss(tmp_path: Path) -> None:
    """Three steps of a run against the same three written out with torch's parts."""
    trainer = Trainer(CONFIG, SETTINGS, data(), tmp_path)
    plain = OneLayerTransformer(CONFIG)
    plain.load_state_dict(trainer.model.state_dict())
    adam = torch.optim.Adam(plain.parameters(), betas=(0.9, 0.99))
    for step in range(3):
        trainer._train_step()
        tokens, targets = inputs_and_targets(data().train, BlockOrder(100, 4, seed=7)(step))
        adam.param_groups[0]["lr"] = SETTINGS.learning_rate(step, 60)
        adam.zero_grad()
        F.cross_entropy(plain(tokens).flatten(0, 1), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        adam.step()
    for (name, ours), theirs in zip(trainer.model.named_parameters(), plain.parameters(), strict=True):
        # The softmax does not see b_K: its gradient is rounding alone, which Adam scales up to whole steps.
        if not name.endswith("b_K"):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_killed_twice_ends_in_the_same_bits(tmp_path: Path, dtype: str) -> None:
    settings, whole, cut = replace(SETTINGS, dtype=dtype), tmp_path / "whole", tmp_path / "cut"
    result = Trainer(CONFIG, settings, data(81), whole).run()
    for step, starts_at in ((33, 0), (55, 20)):  # checkpoints at 20 and 40: the steps after them are done again
        trainer = Trainer(CONFIG, settings, data(81), cut)
        assert trainer.step == starts_at
        with pytest.raises(Killed):
            trainer.run(killed_at(step))
    last = Trainer(CONFIG, settings, data(81), cut)
    assert last.step == 40
    resumed = last.run()
    assert_same_run(whole, cut)
    assert resumed["validation_loss"] == result["validation_loss"]
    assert last.loss.dtype == (torch.bfloat16 if dtype == "bfloat16" else torch.float32)


RUN = """
import os, signal, sys
from itertools import pairwise
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_subject_training import CONFIG, SETTINGS, data
from sae.subjects import Trainer
kill = lambda now: os.kill(os.getpid(), signal.SIGKILL) if now.step == 47 else None
Trainer(CONFIG, SETTINGS, data(), Path({folder!r})).run(kill)
"""


def test_a_process_killed_by_the_system_goes_on_in_another(tmp_path: Path) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    code = RUN.format(tests=str(Path(__file__).parent), folder=str(cut))
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    with (cut / LOG).open("a") as log:
        log.write('{"step": 9')  # the half line of a kill while the log was written
    Trainer(CONFIG, SETTINGS, data(), cut).run()
    Trainer(CONFIG, SETTINGS, data(), whole).run()
    assert_same_run(cut, whole)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = Trainer(CONFIG, SETTINGS, data(), tmp_path)
    loss = first.run()["validation_loss"]
    steps: list[TrainingProgress] = []
    assert Trainer(CONFIG, SETTINGS, data(), tmp_path).run(steps.append)["validation_loss"] == loss
    assert steps == []


def test_a_checkpoint_of_another_run_is_refused_and_the_difference_is_named(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        Trainer(CONFIG, SETTINGS, data(), tmp_path).run(killed_at(21))
    others = {
        "lr 0.01, not 0.02": (CONFIG, replace(SETTINGS, lr=0.02), data()),
        "seed 7, not 8": (CONFIG, replace(SETTINGS, seed=8), data()),
        "d_mlp 64, not 32": (replace(CONFIG, d_mlp=32), SETTINGS, data()),
        "another corpus": (CONFIG, SETTINGS, replace(data(), fingerprint="other text")),
    }
    for said, (config, settings, text) in others.items():
        with pytest.raises(BadInput, match=said) as caught:
            Trainer(config, settings, text, tmp_path)
        assert "\n" not in str(caught.value)
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:5000])
    with pytest.raises(BadInput, match="not a checkpoint"):
        Trainer(CONFIG, SETTINGS, data(), tmp_path)


def test_a_run_that_diverges_stops_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="diverged at step"):
        Trainer(CONFIG, replace(SETTINGS, lr=1e30), data(), tmp_path).run()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": 0}, "tokens is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"dtype": "float16"}, "auto, float32 or bfloat16"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        replace(SETTINGS, **change)


def test_a_corpus_with_longer_blocks_than_the_context_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="blocks of 16 tokens, the model a context of 8"):
        Trainer(replace(CONFIG, n_ctx=8), SETTINGS, data(), tmp_path)
