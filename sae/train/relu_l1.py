"""One training step of the paper's autoencoder, written by hand: five matrix products and what stands between them.

The gradients of this loss are short enough to write down, which makes the step several times faster on a CPU than
autograd in float32: products run in bfloat16 where the processor has it, every large tensor is allocated once (a fresh
one of 32 MB costs more in page faults than the arithmetic on it), and nothing is stored that is not used again.
Weights, Adam's moments and all sums over a batch stay in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sae.dictionaries import ReluL1
from sae.train.adam import Adam
from sae.train.config import EncoderInit, MseConvention, TrainConfig

_PARTIAL_SUMS = 32
"""Parts in which a batch is summed: each is rounded to the products' precision, their sum is float32."""


@dataclass(frozen=True)
class Weights:
    """The four tensors of the autoencoder, all of one dtype; shapes as in `ReluL1`."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor

    def as_dict(self) -> dict[str, Tensor]:
        """By name, in the order of the fields."""
        return {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}

    @classmethod
    def empty(cls, d_in: int, d_sae: int, dtype: torch.dtype, device: torch.device) -> Weights:
        """Uninitialised tensors of these sizes."""
        shapes = ReluL1.tensor_shapes(d_in, d_sae)
        return cls(**{name: torch.empty(shape, dtype=dtype, device=device) for name, shape in shapes.items()})


class Workspace:
    """The large tensors of a step on [batch, d_in] inputs, allocated once, in the precision of the products."""

    def __init__(self, batch: int, d_in: int, d_sae: int, dtype: torch.dtype, device: torch.device) -> None:
        self.centred = torch.empty(batch, d_in, dtype=dtype, device=device)
        self.latents = torch.empty(batch, d_sae, dtype=dtype, device=device)
        self.residual = torch.empty(batch, d_in, dtype=dtype, device=device)
        self.latents_gradient = torch.empty(batch, d_sae, dtype=dtype, device=device)
        part = torch.arange(batch, device=device) * min(_PARTIAL_SUMS, batch) // batch
        self.parts = torch.nn.functional.one_hot(part).t().to(dtype).contiguous()

    def sum_over_batch(self, values: Tensor) -> Tensor:
        """Float32 column sums of values [batch, n], as a product with ones: many times faster than sum(0)."""
        return torch.mm(self.parts, values).to(torch.float32).sum(dim=0)


@dataclass(frozen=True)
class Losses:
    """Of one batch, before the step: `mse` in the run's convention and `l1` (sum of latents) as means over inputs."""

    mse: float
    l1: float
    l0: float


def forward(x: Tensor, weights: Weights, space: Workspace) -> None:
    """Fill the workspace's `centred` (x - b_dec), `latents` f and `residual` x^ - x for inputs x [batch, d_in].

    The residual is f @ W_dec - (x - b_dec), so that it is rounded once, relative to its own size.
    """
    torch.sub(x, weights.b_dec, out=space.centred)
    torch.addmm(weights.b_enc, space.centred, weights.W_enc, out=space.latents)
    torch.relu_(space.latents)
    torch.addmm(space.centred, space.latents, weights.W_dec, beta=-1, out=space.residual)


def gradients(
    weights: Weights, space: Workspace, out: Weights, *, l1_coefficient: float, mse_convention: MseConvention
) -> Tensor:
    """Gradients of the batch's mean loss into `out` (float32 or the products' precision), after `forward`.

    With r = x^ - x, n inputs, and c = d_in for the "mean" convention, 1 for "sum"::

        g        = dL/dx^ = 2 r / (n c)
        dL/dW_dec = f^T g                         dL/df = g W_dec^T + l1 / n
        h        = dL/df where f > 0, else 0      dL/dW_enc = (x - b_dec)^T h      dL/db_enc = sum_n h
        dL/db_dec = sum_n g - W_enc dL/db_enc     (once through the reconstruction, once through the tied bias)

    Overwrites `residual` with g. Returns the column sums of the latents, float32 [d_sae].
    """
    n, d_in = space.residual.shape
    scale = 2.0 / (n * d_in) if mse_convention == "mean" else 2.0 / n
    g, h = space.residual.mul_(scale), space.latents_gradient
    sparsity = torch.full_like(weights.b_enc, l1_coefficient / n)
    torch.addmm(sparsity, g, weights.W_dec.t(), out=h)
    torch.ops.aten.threshold_backward.grad_input(h, space.latents, 0, grad_input=h)
    _product_into(out.W_dec, space.latents.t(), g)
    _product_into(out.W_enc, space.centred.t(), h)
    out.b_enc.copy_(space.sum_over_batch(h))
    out.b_dec.copy_(space.sum_over_batch(g) - weights.W_enc.to(torch.float32) @ out.b_enc.to(torch.float32))
    return space.sum_over_batch(space.latents)


def remove_parallel(gradient: Tensor, directions: Tensor) -> None:
    """Take from each row of `gradient` its component along the unit row of `directions`, in place; both [d_sae, d_in].

    Without this Adam's moments hold a part that the renormalisation undoes after every step (TM, appendix).
    """
    along = torch.linalg.vecdot(gradient, directions)
    gradient.addcmul_(directions, along[:, None], value=-1.0)


@final
class ReluL1Trainer:
    """Weights, Adam and the step, as the `Trainer` interface asks. b_dec [d_in] is where the tied bias begins."""

    def __init__(
        self,
        config: TrainConfig,
        b_dec: Tensor,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        d_in = b_dec.shape[0]
        self._config, self._device = config, device
        self._products = torch.float32 if config.dtype == "float32" else torch.bfloat16
        self._weights = _initial_weights(d_in, config.expansion * d_in, b_dec, rng, device, config.encoder_init)
        d_sae = self._weights.b_enc.shape[0]
        self._rounded = self._weights
        if self._products is not torch.float32:
            self._rounded = Weights.empty(d_in, d_sae, self._products, device)
        self._gradients = Weights.empty(d_in, d_sae, torch.float32, device)
        self._space = Workspace(config.batch_size, d_in, d_sae, self._products, device)
        self._adam = Adam(
            self._weights.as_dict(),
            beta1=config.adam_beta1,
            beta2=config.adam_beta2,
            epsilon=config.adam_epsilon,
        )
        self.steps_silent = torch.zeros(d_sae, dtype=torch.int64, device=device)
        self._round()

    @torch.no_grad()
    def step(self, x: Tensor, *, learning_rate: float, l1_coefficient: float, measure: bool) -> Losses | None:
        """One Adam step on x [batch_size, d_in]; the losses before it when `measure` is set (they cost a little)."""
        forward(x, self._rounded, self._space)
        losses = self._measure() if measure else None
        sums = gradients(
            self._rounded,
            self._space,
            self._gradients,
            l1_coefficient=l1_coefficient,
            mse_convention=self._config.mse_convention,
        )
        remove_parallel(self._gradients.W_dec, self._weights.W_dec)
        self._adam.step(self._gradients.as_dict(), learning_rate)
        _normalise_rows(self._weights.W_dec)
        self._round()
        self.steps_silent.add_(1).masked_fill_(sums > 0, 0)
        return losses

    @torch.no_grad()
    def input_losses(self, x: Tensor, *, l1_coefficient: float) -> Tensor:
        """The loss of each of the inputs x [n, d_in], float32 [n]; n may be anything up to the batch size."""
        space = self._space
        if x.shape[0] != space.centred.shape[0]:
            space = Workspace(x.shape[0], x.shape[1], self._weights.b_enc.shape[0], self._products, self._device)
        forward(x, self._rounded, space)
        squares: Tensor = torch.linalg.vector_norm(space.residual, dim=1, dtype=torch.float32).square_()
        if self._config.mse_convention == "mean":
            squares /= x.shape[1]
        return squares.add_(space.latents.sum(dim=1, dtype=torch.float32), alpha=l1_coefficient)

    @torch.no_grad()
    def replace_latents(self, latents: Tensor, inputs: Tensor, alive: Tensor) -> None:
        """Resample `latents` int64 [k] to point at inputs [k, d_in] (TM's procedure); `alive` is a mask [d_sae].

        Vector: the input as the encoder sees it, x - b_dec, at unit norm. Encoder column: the same at
        `resample_encoder_scale` times the mean norm of the alive latents' columns. Encoder bias and all of Adam's
        moments of the replaced latents: 0.
        """
        weights = self._weights
        centred = inputs.to(self._device, torch.float32) - weights.b_dec
        directions = centred / torch.linalg.vector_norm(centred, dim=1, keepdim=True)
        norm = torch.linalg.vector_norm(weights.W_enc, dim=0)[alive].mean()
        weights.W_dec[latents] = directions
        weights.W_enc[:, latents] = (self._config.resample_encoder_scale * norm * directions).t()
        weights.b_enc[latents] = 0.0
        for moments in (self._adam.first_moment, self._adam.second_moment):
            moments["W_dec"][latents] = 0.0
            moments["W_enc"][:, latents] = 0.0
            moments["b_enc"][latents] = 0.0
        self.steps_silent[latents] = 0
        self._round()

    def dictionary(self, hook_name: str) -> ReluL1:
        """The autoencoder as it stands, on the CPU, with tensors of its own."""
        weights = self._weights
        return ReluL1(
            W_enc=weights.W_enc.to("cpu", copy=True),
            b_enc=weights.b_enc.to("cpu", copy=True),
            W_dec=weights.W_dec.to("cpu", copy=True),
            b_dec=weights.b_dec.to("cpu", copy=True),
            hook_name=hook_name,
        )

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs to go on with the same bits."""
        weights = {name: tensor.to("cpu") for name, tensor in self._weights.as_dict().items()}
        return {"steps_silent": self.steps_silent.to("cpu"), **weights, **self._adam.state()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a `state`. A KeyError means that it is of something else."""
        self.steps_silent.copy_(state["steps_silent"])
        for name, tensor in self._weights.as_dict().items():
            tensor.copy_(state[name])
        self._adam.load_state(state)
        self._round()

    def _round(self) -> None:
        """Bring the copy that the products read up to date."""
        if self._rounded is not self._weights:
            for rounded, tensor in zip(self._rounded.as_dict().values(), self._weights.as_dict().values(), strict=True):
                rounded.copy_(tensor)

    def _measure(self) -> Losses:
        space, n = self._space, self._space.residual.shape[0]
        squares = float(torch.linalg.vector_norm(space.residual, dtype=torch.float32)) ** 2 / n
        return Losses(
            mse=squares / space.residual.shape[1] if self._config.mse_convention == "mean" else squares,
            l1=float(space.sum_over_batch(space.latents).sum()) / n,
            l0=int(torch.count_nonzero(space.latents)) / n,
        )


def _initial_weights(
    d_in: int, d_sae: int, b_dec: Tensor, rng: np.random.Generator, device: torch.device, encoder_init: EncoderInit
) -> Weights:
    """Kaiming-uniform (bound sqrt(6 / fan_in)), decoder rows at unit norm, b_enc 0; W_enc as `encoder_init` says."""
    drawn = rng.uniform(-1, 1, (d_in, d_sae)).astype(np.float32) * np.float32((6 / d_in) ** 0.5)
    # The decoder's bound would be sqrt(6 / d_sae), but the rows are normalised, which undoes any factor.
    decoder = torch.from_numpy(rng.uniform(-1, 1, (d_sae, d_in)).astype(np.float32)).to(device)
    _normalise_rows(decoder)
    own = encoder_init == "kaiming_uniform"
    encoder = torch.from_numpy(drawn).to(device) if own else decoder.t().clone(memory_format=torch.contiguous_format)
    return Weights(
        W_enc=encoder,
        b_enc=torch.zeros(d_sae, device=device),
        W_dec=decoder,
        b_dec=b_dec.to(device, torch.float32, copy=True),
    )


def _normalise_rows(matrix: Tensor) -> None:
    matrix.div_(torch.linalg.vector_norm(matrix, dim=1, keepdim=True))


def _product_into(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out = left @ right, where `out` may be of a higher precision than the product."""
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(torch.mm(left, right))
