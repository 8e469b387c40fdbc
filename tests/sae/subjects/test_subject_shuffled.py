"""The weight-shuffled control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sae.errors import BadInput
from sae.subjects import (
    OneLayerConfig,
    OneLayerSubject,
    OneLayerTransformer,
    load_subject,
    save_subject,
    shuffle_weights,
)

MATRICES = {"W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_in", "W_out", "W_U"}


@pytest.fixture
def subject() -> OneLayerSubject:
    model = OneLayerTransformer(OneLayerConfig(d_model=8, n_heads=2, d_mlp=12, d_vocab=20, n_ctx=6))
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.detach().copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape))))
    return OneLayerSubject(model, "toy")


def test_every_matrix_keeps_its_entries_in_another_order_and_nothing_else_changes(subject: OneLayerSubject) -> None:
    before = {key: value.clone() for key, value in subject.model.state_dict().items()}
    shuffled = shuffle_weights(subject, 5)
    seen = set()
    for name, tensor in shuffled.model.state_dict().items():
        assert torch.equal(subject.model.state_dict()[name], before[name]), "the original was changed"
        last = name.rpartition(".")[2]
        if last in MATRICES:
            seen.add(last)
            assert torch.equal(tensor.flatten().sort().values, before[name].flatten().sort().values)
            assert float((tensor == before[name]).float().mean()) < 0.2, name
        else:
            assert torch.equal(tensor, before[name]), name
    assert seen == MATRICES


def test_the_seed_decides(subject: OneLayerSubject) -> None:
    one, same, other = (shuffle_weights(subject, seed) for seed in (5, 5, 6))
    assert one.fingerprint == same.fingerprint
    assert len({one.fingerprint, other.fingerprint, subject.fingerprint}) == 3
    assert one.name == "toy-shuffled"


def test_the_permutation_is_the_same_on_every_machine() -> None:
    """Pinned: results of runs on other machines are compared with ours."""

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W_E = nn.Parameter(torch.arange(8.0).view(2, 4))

    class OnTiny:
        name, model = "tiny", Tiny()

        def with_model(self, model: Tiny, name: str) -> Tiny:
            return model

    seed = np.random.SeedSequence([5, *b"shuffled weights of W_E"])
    order = np.random.Generator(np.random.PCG64(seed)).permutation(8)
    assert shuffle_weights(OnTiny(), 5).W_E.flatten().tolist() == order.tolist()


def test_a_path_can_ask_for_the_control(subject: OneLayerSubject, tmp_path: Path) -> None:
    save_subject(tmp_path, subject.model, name="toy", corpus={}, training={}, dtype="float32", companions={})
    loaded = load_subject(f"{tmp_path}?shuffle=5")
    assert loaded.name == "toy-shuffled"
    assert loaded.fingerprint == shuffle_weights(subject, 5).fingerprint
    for wrong in ("?shuffle=", "?shuffle=-1", "?seed=5", "?", "?shuffle=5&x=1"):
        with pytest.raises(BadInput, match="only shuffle=SEED is known"):
            load_subject(f"{tmp_path}{wrong}")
