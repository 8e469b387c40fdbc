"""Latents in buffers, of any activation function; and work done ahead by threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import torch
from harvest_fakes import HOOK, random_dictionary
from torch import Tensor

from sae.dictionaries import Dictionary, ReluL1
from sae.dictionaries.saelens import SaeLensConfig
from sae.harvest.activations import LatentSource
from sae.harvest.ahead import computed_ahead
from sae.harvest.tally import EntryFinder


@dataclass(frozen=True, eq=False)
class TopTwo(Dictionary):
    """Keeps the two largest latents of a token, if they are above zero: whether one fires depends on the others."""

    architecture: ClassVar[str] = "top_two"
    saelens_architecture: ClassVar[str] = "top_two"

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    hook_name: str = HOOK

    def encoder_affine(self) -> tuple[Tensor, Tensor]:
        return self.W_enc, self.b_enc

    def activation(self, preactivations: Tensor) -> Tensor:
        second = preactivations.topk(2, dim=-1).values[..., -1:]
        return torch.relu(preactivations) * (preactivations >= second)

    def tensors(self) -> dict[str, Tensor]:
        return {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}

    def settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_saelens(cls, config: SaeLensConfig, tensors: Mapping[str, Tensor]) -> Self:
        raise NotImplementedError

    @classmethod
    def tensor_shapes(cls, d_in: int, d_sae: int) -> dict[str, tuple[int, ...]]:
        raise NotImplementedError


def relu_dictionary() -> ReluL1:
    return random_dictionary(0, d_in=6, d_sae=20, bias=-0.3)


def top_two() -> TopTwo:
    return TopTwo(**relu_dictionary().tensors())


@pytest.mark.parametrize("make", [relu_dictionary, top_two])
def test_latents_are_those_of_the_dictionary_in_float64(make: Any) -> None:
    dictionary = make()
    x = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = {name: tensor.double() for name, tensor in dictionary.tensors().items()}
    centred = x - exact["b_dec"] if isinstance(dictionary, ReluL1) else x
    expected = dictionary.activation(centred @ exact["W_enc"] + exact["b_enc"]).numpy()
    source = LatentSource(dictionary, "float64")
    entries = EntryFinder()(source.dense(x, 0))
    found = np.zeros((30, 20))
    found[entries.token, entries.unit] = entries.value
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)
    np.testing.assert_allclose(source.every(x), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(source.some(x, np.array([7, 3])), expected[:, [7, 3]], rtol=1e-12, atol=1e-14)


def test_a_slot_s_latents_last_until_its_next_call() -> None:
    source = LatentSource(relu_dictionary(), "float64")
    x = torch.randn(3, 8, 6, dtype=torch.float64)
    first, second = source.dense(x[0], 0), source.dense(x[1], 1)
    before = first.values.copy()
    assert not np.shares_memory(first.values, second.values)
    assert (first.values == before).all()
    assert np.shares_memory(first.values, source.dense(x[2], 0).values)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_work_ahead_is_handed_over_in_order_and_slots_in_use_differ(workers: int) -> None:
    in_use: set[int] = set()
    lock = threading.Lock()

    def compute(item: int, slot: int) -> tuple[int, int]:
        with lock:
            assert slot not in in_use
            in_use.add(slot)
        time.sleep(0.002 * (item % 3))
        return item, slot

    found = []
    for item, slot in computed_ahead(compute, range(12), workers):
        found.append(item)
        with lock:
            in_use.remove(slot)  # until the next one is asked for it is this consumer's
    assert found == list(range(12))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_goes_wrong_ahead_is_raised_and_the_threads_are_as_before(workers: int) -> None:
    before = torch.get_num_threads()

    def compute(item: int, slot: int) -> int:
        if item == 3:
            raise ZeroDivisionError
        return item

    found = []
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for item in computed_ahead(compute, range(9), workers):
            found.append(item)
    assert found == [0, 1, 2]
    assert torch.get_num_threads() == before
