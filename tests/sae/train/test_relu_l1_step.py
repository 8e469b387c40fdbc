"""The step written by hand: against numbers worked on paper, against autograd, and its promises after every step."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from sae.train.adam import Adam
from sae.train.config import TrainConfig
from sae.train.relu_l1 import ReluL1Trainer, Weights, Workspace, forward, gradients, remove_parallel

CPU = torch.device("cpu")


def hand_weights() -> Weights:
    return Weights(
        W_enc=torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
        b_enc=torch.tensor([-0.5, -1.0]),
        W_dec=torch.tensor([[1.0, 0.0], [0.6, 0.8]]),
        b_dec=torch.tensor([1.0, 0.0]),
    )


HAND_INPUTS = torch.tensor([[3.0, 0.0], [1.0, 1.0]])

# Worked by hand for the two inputs above, l1 = 0.4, mean convention (c = d_in = 2), n = 2.
# x - b_dec = (2, 0), (0, 1);  preactivations (1.5, -1), (-0.5, 1);  f = (1.5, 0), (0, 1)
# x^ = (2.5, 0), (1.6, 0.8);   r = x^ - x = (-0.5, 0), (0.6, -0.2)
# mse = mean(0.25/2, 0.40/2) = 0.1625;  L1 = mean(1.5, 1) = 1.25;  L0 = 1
# g = 2 r / (2 * 2) = (-0.25, 0), (0.3, -0.1);  l1 / n = 0.2
# dW_dec = 1.5 * g_1 = (-0.375, 0);  1 * g_2 = (0.3, -0.1)
# df = -0.25 * 1 + 0.2 = -0.05;  0.3 * 0.6 - 0.1 * 0.8 + 0.2 = 0.3   (where f > 0, else 0)
# dW_enc = (2, 0)^T (-0.05, 0) + (0, 1)^T (0, 0.3);  db_enc = (-0.05, 0.3)
# db_dec = sum g - W_enc db_enc = (0.05, -0.1) - (-0.05, 0.6) = (0.1, -0.7)
HAND_GRADIENTS = {
    "W_dec": [[-0.375, 0.0], [0.3, -0.1]],
    "W_enc": [[-0.1, 0.0], [0.0, 0.3]],
    "b_enc": [-0.05, 0.3],
    "b_dec": [0.1, -0.7],
}


def computed_gradients(
    x: Tensor, weights: Weights, l1: float, convention: Literal["mean", "sum"]
) -> tuple[Weights, Tensor]:
    space = Workspace(x.shape[0], x.shape[1], weights.b_enc.shape[0], x.dtype, CPU)
    out = Weights.empty(x.shape[1], weights.b_enc.shape[0], x.dtype, CPU)
    forward(x, weights, space)
    sums = gradients(weights, space, out, l1_coefficient=l1, mse_convention=convention)
    return out, sums


def trainer_with(weights: Weights, **settings: Any) -> ReluL1Trainer:
    d_in, d_sae = weights.W_enc.shape
    config = TrainConfig(expansion=d_sae // d_in, **settings)
    trainer = ReluL1Trainer(config, weights.b_dec, np.random.default_rng(0), CPU)
    trainer.load_state(trainer.state() | weights.as_dict())
    return trainer


def random_weights(seed: int, d_in: int, d_sae: int, dtype: torch.dtype = torch.float64) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    decoder = torch.randn(d_sae, d_in, generator=rng, dtype=dtype)
    return Weights(
        W_enc=torch.randn(d_in, d_sae, generator=rng, dtype=dtype),
        b_enc=torch.randn(d_sae, generator=rng, dtype=dtype),
        W_dec=decoder / decoder.norm(dim=1, keepdim=True),
        b_dec=torch.randn(d_in, generator=rng, dtype=dtype),
    )


def test_gradients_are_those_worked_by_hand() -> None:
    out, sums = computed_gradients(HAND_INPUTS, hand_weights(), 0.4, "mean")
    for name, expected in HAND_GRADIENTS.items():
        torch.testing.assert_close(out.as_dict()[name], torch.tensor(expected), atol=1e-6, rtol=0)
    assert sums.tolist() == [1.5, 1.0]


def test_a_whole_step_is_the_one_worked_by_hand() -> None:
    # Decoder gradient without its part along the rows: (-0.375, 0) along (1, 0) leaves (0, 0); (0.3, -0.1) along
    # (0.6, 0.8) has the component 0.1 and leaves (0.24, -0.18). Adam's first step is the rate times the sign, so
    # with rate 0.1 row 2 becomes (0.5, 0.9), of length sqrt(1.06); where the gradient is 0 nothing moves.
    trainer = trainer_with(hand_weights(), batch_size=2, adam_epsilon=1e-30)
    losses = trainer.step(HAND_INPUTS, learning_rate=0.1, l1_coefficient=0.4, measure=True)
    assert losses is not None
    assert (losses.mse, losses.l1, losses.l0) == pytest.approx((0.1625, 1.25, 1.0))
    after = trainer.dictionary("hook")
    long = 1.06**0.5
    torch.testing.assert_close(after.W_dec, torch.tensor([[1.0, 0.0], [0.5 / long, 0.9 / long]]))
    torch.testing.assert_close(after.W_enc, torch.tensor([[1.1, 0.0], [0.0, 1.9]]))
    torch.testing.assert_close(after.b_enc, torch.tensor([-0.4, -1.1]))
    torch.testing.assert_close(after.b_dec, torch.tensor([0.9, 0.1]))
    # Adam saw the decoder's gradient without its parallel part: its first moment is a tenth of that.
    moment = trainer.state()["W_dec.first_moment"]
    torch.testing.assert_close(moment, torch.tensor([[0.0, 0.0], [0.024, -0.018]]), atol=1e-7, rtol=0)


@pytest.mark.parametrize("convention", ["mean", "sum"])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_gradients_are_those_of_autograd(convention: Literal["mean", "sum"], batch: int) -> None:
    weights = random_weights(1, d_in=5, d_sae=15)
    x = torch.randn(batch, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    out, _ = computed_gradients(x, weights, 0.3, convention)

    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.as_dict().items()}
    f = torch.relu((x - leaves["b_dec"]) @ leaves["W_enc"] + leaves["b_enc"])
    squares = (f @ leaves["W_dec"] + leaves["b_dec"] - x).square()
    reconstruction = squares.mean(dim=1) if convention == "mean" else squares.sum(dim=1)
    (reconstruction + 0.3 * f.sum(dim=1)).mean().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        # The sums over the batch pass through float32 by design.
        torch.testing.assert_close(out.as_dict()[name], leaf.grad, rtol=2e-6, atol=2e-6)


def test_the_two_conventions_differ_by_d_in_in_what_the_coefficient_means() -> None:
    weights = random_weights(3, d_in=4, d_sae=8)
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    mean, _ = computed_gradients(x, weights, 0.1, "mean")
    total, _ = computed_gradients(x, weights, 0.4, "sum")
    torch.testing.assert_close(total.W_dec, 4 * mean.W_dec)
    torch.testing.assert_close(total.W_enc, 4 * mean.W_enc)


def test_the_parallel_component_is_gone() -> None:
    weights = random_weights(5, d_in=16, d_sae=64, dtype=torch.float32)
    gradient = torch.randn(64, 16, generator=torch.Generator().manual_seed(6))
    before = gradient.clone()
    remove_parallel(gradient, weights.W_dec)
    along = (gradient * weights.W_dec).sum(dim=1)
    assert float(along.abs().max()) < 1e-6 * float(before.norm(dim=1).min())
    removed = before - gradient
    # What was taken away lies along the row: its cosine with the row is 1 or -1.
    cosine = (removed * weights.W_dec).sum(dim=1) / removed.norm(dim=1)
    torch.testing.assert_close(cosine.abs(), torch.ones(64))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_decoder_rows_keep_unit_norm_after_every_step(dtype: str) -> None:
    trainer = trainer_with(random_weights(7, 8, 32, torch.float32), batch_size=64, dtype=dtype)
    rng = torch.Generator().manual_seed(8)
    for _ in range(20):
        x = torch.randn(64, 8, generator=rng).to(torch.float32 if dtype == "float32" else torch.bfloat16)
        trainer.step(x, learning_rate=0.05, l1_coefficient=0.1, measure=False)
        norms = trainer.dictionary("hook").W_dec.norm(dim=1)
        torch.testing.assert_close(norms, torch.ones(32), atol=1e-6, rtol=0)


def test_bfloat16_products_give_nearly_the_gradients_of_float32() -> None:
    weights = random_weights(9, d_in=64, d_sae=256, dtype=torch.float32)
    x = torch.randn(512, 64, generator=torch.Generator().manual_seed(10))
    exact, _ = computed_gradients(x, weights, 0.2, "mean")
    low = Weights(**{name: tensor.to(torch.bfloat16) for name, tensor in weights.as_dict().items()})
    space = Workspace(512, 64, 256, torch.bfloat16, CPU)
    rounded = Weights.empty(64, 256, torch.float32, CPU)
    forward(x.to(torch.bfloat16), low, space)
    gradients(low, space, rounded, l1_coefficient=0.2, mse_convention="mean")
    for name, expected in exact.as_dict().items():
        error = (rounded.as_dict()[name] - expected).norm() / expected.norm()
        assert float(error) < 0.02, name


def test_adam_is_the_adam_of_its_paper() -> None:
    # Kingma and Ba 2015, algorithm 1, in float64.
    rng = np.random.default_rng(11)
    beta1, beta2, epsilon = 0.8, 0.95, 1e-5
    start = {"a": rng.normal(size=(5, 3)), "b": rng.normal(size=4)}
    ours = {name: torch.from_numpy(values).float() for name, values in start.items()}
    adam = Adam(ours, beta1=beta1, beta2=beta2, epsilon=epsilon)
    first, second = ({name: np.zeros_like(values) for name, values in start.items()} for _ in range(2))
    for step in range(1, 7):
        gradients = {name: rng.normal(size=values.shape) for name, values in start.items()}
        adam.step({name: torch.from_numpy(values).float() for name, values in gradients.items()}, 0.1 / step)
        for name, g in gradients.items():
            first[name] = beta1 * first[name] + (1 - beta1) * g
            second[name] = beta2 * second[name] + (1 - beta2) * g**2
            unbiased, scale = first[name] / (1 - beta1**step), second[name] / (1 - beta2**step)
            start[name] = start[name] - 0.1 / step * unbiased / (np.sqrt(scale) + epsilon)
            np.testing.assert_allclose(ours[name].numpy(), start[name], rtol=1e-4, atol=1e-6)


def test_steps_silent_counts_steps_without_a_firing() -> None:
    # The first latent fires on (3, 0) only, the second on (1, 1) only; both are silent on (1, 0) = b_dec.
    trainer = trainer_with(hand_weights(), batch_size=2)
    for inputs, expected in (
        (HAND_INPUTS, [0, 0]),
        (torch.tensor([[3.0, 0.0], [1.0, 0.0]]), [0, 1]),
        (torch.tensor([[1.0, 0.0], [1.0, 0.0]]), [1, 2]),
        (torch.tensor([[1.0, 0.0], [1.0, 1.0]]), [2, 0]),
    ):
        trainer.step(inputs, learning_rate=1e-9, l1_coefficient=0.4, measure=False)
        assert trainer.steps_silent.tolist() == expected


@pytest.mark.parametrize(("convention", "factor"), [("mean", 1.0), ("sum", 2.0)])
def test_input_losses_are_those_worked_by_hand(convention: Literal["mean", "sum"], factor: float) -> None:
    # Squared errors 0.25 and 0.40 over two elements, latents 1.5 and 1, l1 0.4.
    trainer = trainer_with(hand_weights(), batch_size=64, mse_convention=convention)
    losses = trainer.input_losses(HAND_INPUTS, l1_coefficient=0.4)
    assert losses.tolist() == pytest.approx([factor * 0.125 + 0.6, factor * 0.2 + 0.4])


def test_initial_weights_are_kaiming_uniform_with_unit_rows_and_the_given_bias() -> None:
    b_dec = torch.arange(64.0)
    trainer = ReluL1Trainer(TrainConfig(expansion=4), b_dec, np.random.default_rng(0), CPU)
    dictionary = trainer.dictionary("hook")
    bound = (6 / 64) ** 0.5
    assert float(dictionary.W_enc.abs().max()) <= bound
    # A uniform variable on [-a, a] has variance a^2 / 3.
    assert float(dictionary.W_enc.var()) == pytest.approx(bound**2 / 3, rel=0.03)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(256))
    assert dictionary.b_enc.tolist() == [0.0] * 256
    assert torch.equal(dictionary.b_dec, b_dec)
    # Untied: encoder and decoder are drawn apart.
    cosine = torch.nn.functional.cosine_similarity(dictionary.W_enc.t(), dictionary.W_dec, dim=1)
    assert float(cosine.abs().mean()) < 0.2


def test_an_encoder_that_starts_as_the_decoder_moves_on_its_own() -> None:
    trainer = ReluL1Trainer(TrainConfig(expansion=4, batch_size=8, encoder_init="decoder"), torch.zeros(6),
                            np.random.default_rng(0), CPU)  # fmt: skip
    start = trainer.dictionary("hook")
    assert torch.equal(start.W_enc, start.W_dec.t())
    apart = ReluL1Trainer(TrainConfig(expansion=4), torch.zeros(6), np.random.default_rng(0), CPU).dictionary("hook")
    assert torch.equal(start.W_dec, apart.W_dec)  # the setting changes the encoder alone
    inputs = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32))
    trainer.step(inputs, learning_rate=0.01, l1_coefficient=0.1, measure=False)
    moved = trainer.dictionary("hook")
    assert not torch.equal(moved.W_enc, moved.W_dec.t())
