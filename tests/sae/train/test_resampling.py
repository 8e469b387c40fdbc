"""Resampling of dead latents, against the paper's procedure step by step, and inside a run."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from train_fakes import HOOK, ArrayCorpus, TableSubject, random_tokens, sparse_mixtures, unit_directions

from sae.errors import BadInput
from sae.train import TRAINERS, TrainConfig, train
from sae.train.relu_l1 import ReluL1Trainer
from sae.train.resampling import WeightedReservoir, resample_dead

CPU = torch.device("cpu")
DEAD = [1, 5, 6]


def trainer_with_dead(seed: int = 0, dtype: Any = "float32") -> ReluL1Trainer:
    """Eight latents on four dimensions, of which `DEAD` never fire, after a few steps that filled Adam's moments."""
    config = TrainConfig(expansion=2, batch_size=32, dtype=dtype)
    trainer = ReluL1Trainer(config, torch.tensor([0.1, 0.2, 0.3, 0.4]), np.random.default_rng(seed), CPU)
    inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(seed))
    for _ in range(3):
        trainer.step(inputs.to(getattr(torch, dtype)), learning_rate=1e-3, l1_coefficient=0.01, measure=False)
    state = trainer.state()
    state["b_enc"][DEAD] = -100.0
    state["steps_silent"] = torch.tensor([9 if latent in DEAD else 0 for latent in range(8)])
    trainer.load_state(state)
    return trainer


def resample(trainer: ReluL1Trainer, pieces: list[Tensor], seed: int = 0) -> Any:
    return resample_dead(trainer, pieces, window=9, l1_coefficient=0.01, batch_size=32, rng=np.random.default_rng(seed))


def test_a_resampled_latent_is_an_input_as_the_paper_makes_it() -> None:
    trainer = trainer_with_dead()
    inputs = torch.randn(100, 4, generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in trainer.state().items()}
    bias = before["b_dec"]
    done = resample(trainer, [inputs[:60], inputs[60:]])
    assert (done.dead, done.replaced) == (3, 3)
    after = trainer.state()

    candidates = (inputs - bias) / (inputs - bias).norm(dim=1, keepdim=True)
    chosen = []
    for latent in DEAD:
        distance = (candidates - after["W_dec"][latent]).norm(dim=1)
        assert float(distance.min()) < 1e-6  # it is one of the inputs, centred, at unit norm
        chosen.append(int(distance.argmin()))
    assert len(set(chosen)) == 3  # and no two are the same

    alive = [latent for latent in range(8) if latent not in DEAD]
    length = 0.2 * before["W_enc"][:, alive].norm(dim=0).mean()
    torch.testing.assert_close(after["W_enc"][:, DEAD], length * after["W_dec"][DEAD].t())
    assert after["b_enc"][DEAD].tolist() == [0.0, 0.0, 0.0]
    for moment in ("first_moment", "second_moment"):
        assert float(after[f"W_dec.{moment}"][DEAD].abs().max()) == 0.0
        assert float(after[f"W_enc.{moment}"][:, DEAD].abs().max()) == 0.0
        assert float(after[f"b_enc.{moment}"][DEAD].abs().max()) == 0.0
    assert after["steps_silent"].tolist() == [0] * 8

    # The others are left as they were, moments included.
    for name in (
        "W_dec",
        "W_dec.first_moment",
        "W_dec.second_moment",
        "b_enc",
        "b_enc.first_moment",
        "b_enc.second_moment",
    ):
        assert torch.equal(after[name][alive], before[name][alive])
        assert float(before[name][alive].abs().max()) > 0
    for name in ("W_enc", "W_enc.first_moment", "W_enc.second_moment"):
        assert torch.equal(after[name][:, alive], before[name][:, alive])

    # Each now fires on the input it was given.
    fired = trainer.dictionary("hook").encode(inputs[chosen])[range(3), DEAD]
    assert float(fired.min()) > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_next_step_sees_the_resampled_latents(dtype: str) -> None:
    trainer = trainer_with_dead(dtype=dtype)
    inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(3)).to(getattr(torch, dtype))
    trainer.step(inputs, learning_rate=1e-9, l1_coefficient=0.0, measure=False)
    assert trainer.steps_silent[DEAD].tolist() == [10, 10, 10]
    resample(trainer, [inputs])
    trainer.step(inputs, learning_rate=1e-9, l1_coefficient=0.0, measure=False)
    assert trainer.steps_silent[DEAD].tolist() == [0, 0, 0]


def test_inputs_with_more_loss_are_drawn_more_often() -> None:
    # One input has ten times the norm of the others and so by far the greatest loss squared.
    inputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(2)) * 0.1
    inputs[17] = torch.tensor([5.0, -5.0, 5.0, 5.0])
    trainer = trainer_with_dead()
    far = inputs[17] - trainer.state()["b_dec"]
    resample(trainer, [inputs])
    cosines = trainer.state()["W_dec"][DEAD] @ (far / far.norm())
    assert float(cosines.max()) == pytest.approx(1.0, abs=1e-5)


def test_inputs_are_drawn_in_proportion_to_the_square_of_their_loss() -> None:
    # Losses 1 and 3: squared the second is drawn with p = 0.9 (unsquared it would be 0.75, evenly 0.5).
    drawn: list[float] = []

    class OneDead:
        steps_silent = torch.tensor([0, 9])

        def input_losses(self, x: Tensor, *, l1_coefficient: float) -> Tensor:
            return x[:, 0]

        def replace_latents(self, latents: Tensor, inputs: Tensor, alive: Tensor) -> None:
            assert (latents.tolist(), alive.tolist()) == ([1], [True, False])
            drawn.append(float(inputs[0, 0]))

    trainer: Any = OneDead()
    rng = np.random.default_rng(0)
    for _ in range(600):
        resample_dead(trainer, [torch.tensor([[1.0], [3.0]])], window=9, l1_coefficient=0.0, batch_size=8, rng=rng)
    assert drawn.count(3.0) / 600 == pytest.approx(0.9, abs=0.05)  # four standard deviations


def test_without_dead_latents_no_input_is_read() -> None:
    trainer = trainer_with_dead()

    def never() -> Any:
        raise AssertionError("inputs were read")
        yield

    done = resample_dead(trainer, never(), window=10, l1_coefficient=0.0, batch_size=32, rng=np.random.default_rng(0))
    assert (done.dead, done.replaced) == (0, 0)


def test_fewer_inputs_than_dead_latents_revive_as_many_as_there_are() -> None:
    trainer = trainer_with_dead()
    done = resample(trainer, [torch.tensor([[1.0, 2.0, 3.0, 4.0], [4.0, 0.0, 0.0, 1.0]])])
    assert (done.dead, done.replaced) == (3, 2)
    assert trainer.state()["steps_silent"][DEAD].tolist() == [0, 0, 9]


def test_a_run_without_an_alive_latent_is_refused_in_one_line() -> None:
    trainer = trainer_with_dead()
    trainer.steps_silent.fill_(9)
    with pytest.raises(BadInput, match=r"all 8 latents are dead .*; lower the L1 coefficient"):
        resample(trainer, [torch.ones(3, 4)])


def test_the_reservoir_draws_in_proportion_to_weight_without_repeats() -> None:
    # Exact: the chance of a pair in order (i, j) is w_i / W * w_j / (W - w_i).
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    exact = np.zeros(4)
    for i, j in itertools.permutations(range(4), 2):
        exact[[i, j]] += weights[i] / 10 * weights[j] / (10 - weights[i])
    rng, draws = np.random.default_rng(0), 3000
    counts = np.zeros(4)
    rows, tensor = torch.arange(4.0)[:, None], torch.from_numpy(weights)
    for _ in range(draws):
        reservoir = WeightedReservoir(2, rng)
        reservoir.offer(rows[:3], tensor[:3])
        reservoir.offer(rows[3:], tensor[3:])
        drawn = reservoir.rows()
        assert drawn is not None
        chosen = drawn.flatten().long().numpy()
        assert len(set(chosen)) == 2
        counts[chosen] += 1
    # Five standard deviations of a proportion at its widest.
    assert np.abs(counts / draws - exact).max() < 5 * (0.25 / draws) ** 0.5


def test_the_reservoir_never_draws_weight_zero() -> None:
    reservoir = WeightedReservoir(3, np.random.default_rng(0))
    reservoir.offer(torch.arange(4.0)[:, None], torch.tensor([0.0, 1.0, 0.0, 2.0]))
    drawn = reservoir.rows()
    assert drawn is not None
    assert sorted(drawn.flatten().tolist()) == [1.0, 3.0]


def test_in_a_run_planted_dead_latents_are_resampled_and_revived(tmp_path: Any, monkeypatch: Any) -> None:
    planted = list(range(0, 40, 2))

    def plant(config: TrainConfig, b_dec: Tensor, rng: np.random.Generator, device: torch.device) -> ReluL1Trainer:
        trainer = ReluL1Trainer(config, b_dec, rng, device)
        state = trainer.state()
        state["b_enc"][planted] = -1000.0
        trainer.load_state(state)
        return trainer

    monkeypatch.setitem(TRAINERS, "relu_l1", plant)
    table = sparse_mixtures(0, 5000, unit_directions(1, 30, 20), active=3)
    corpus: Any = ArrayCorpus(random_tokens(2, 500, 64, 5000))
    subject: Any = TableSubject(torch.from_numpy(table))
    settings: dict[str, Any] = {
        "expansion": 2, "steps": 400, "batch_size": 64, "l1_coefficient": 0.005, "learning_rate": 3e-3,
        "dead_window_fraction": 0.05, "resample_inputs": 2000, "median_inputs": 2000, "buffer_inputs": 4000,
    }  # fmt: skip

    never = train(subject, corpus, TrainConfig(resample_fractions=(), **settings), tmp_path / "never", hook=HOOK)
    assert never["training"]["last_batch"]["dead"] >= 20

    config = TrainConfig(resample_fractions=(0.1, 0.2), **settings)
    done = train(subject, corpus, config, tmp_path / "resampled", hook=HOOK)
    first, second = done["training"]["resamplings"]
    assert first["step"] == 40
    assert first["dead"] == first["replaced"] >= 20
    assert second["step"] == 80
    assert second["dead"] < 5
    assert done["training"]["last_batch"]["dead"] < 5
    assert done["training"]["last_batch"]["mse"] < never["training"]["last_batch"]["mse"]
