"""The activation stream: every position at most once, an order that only the seed decides, going on at any place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from train_fakes import HOOK, TableSubject

from sae.errors import BadInput
from sae.train import ActivationStream


def numbered(blocks: int, block_tokens: int) -> tuple[TableSubject, np.ndarray]:
    """A split whose every position has a token, and so an activation, of its own."""
    tokens = np.arange(blocks * block_tokens, dtype=np.uint16).reshape(blocks, block_tokens)
    table = torch.arange(float(tokens.size))[:, None]
    return TableSubject(table), tokens


def read(stream: ActivationStream, sizes: list[int]) -> list[int]:
    values: list[int] = []
    for size in sizes:
        out = torch.empty(size, stream.width)
        stream.next(out)
        values += [int(value) for value in out[:, 0]]
    return values


@settings(max_examples=40, deadline=None)
@given(
    blocks=st.integers(1, 150),
    block_tokens=st.integers(1, 12),
    sampled=st.integers(1, 12),
    buffer=st.integers(1, 2000),
    seed=st.integers(0, 5),
)
def test_each_position_is_used_once(blocks: int, block_tokens: int, sampled: int, buffer: int, seed: int) -> None:
    sampled = min(sampled, block_tokens)
    subject, tokens = numbered(blocks, block_tokens)
    stream = ActivationStream(subject, HOOK, tokens, seed=seed, tokens_per_context=sampled, buffer_inputs=buffer)
    assert stream.inputs == blocks * sampled
    first = stream.inputs // 3
    values = read(stream, [first, 0, stream.inputs - first])
    assert len(set(values)) == len(values) == blocks * sampled
    per_block = np.bincount(np.array(values) // block_tokens, minlength=blocks)
    assert per_block.tolist() == [sampled] * blocks
    with pytest.raises(IndexError):
        stream.next(torch.empty(1, 1))


def test_without_sampling_every_position_comes() -> None:
    subject, tokens = numbered(30, 16)
    stream = ActivationStream(subject, HOOK, tokens, seed=0, buffer_inputs=100)
    assert sorted(read(stream, [stream.inputs])) == list(range(480))


def test_sampled_positions_are_spread_over_the_block() -> None:
    subject, tokens = numbered(2000, 8)
    stream = ActivationStream(subject, HOOK, tokens, seed=0, tokens_per_context=2)
    positions = np.array(read(stream, [stream.inputs])) % 8
    # 4000 draws over 8 positions: 500 each, standard deviation below 21.
    assert np.abs(np.bincount(positions, minlength=8) - 500).max() < 100


def test_the_seed_decides_the_order() -> None:
    subject, tokens = numbered(50, 8)

    def order(seed: int) -> list[int]:
        return read(ActivationStream(subject, HOOK, tokens, seed=seed, buffer_inputs=64), [400])

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_batches_mix_blocks() -> None:
    # 512 of 4096 positions from 256 blocks: unmixed they would come from 32 blocks, mixed from nearly all.
    subject, tokens = numbered(256, 16)
    stream = ActivationStream(subject, HOOK, tokens, seed=0, buffer_inputs=4096)
    blocks = {value // 16 for value in read(stream, [512])}
    assert len(blocks) > 200


@pytest.mark.parametrize("place", [0, 1, 99, 100, 101, 357])
def test_it_goes_on_at_any_place(place: int) -> None:
    subject, tokens = numbered(50, 8)
    whole = read(ActivationStream(subject, HOOK, tokens, seed=3, buffer_inputs=100), [400])
    stream = ActivationStream(subject, HOOK, tokens, seed=3, buffer_inputs=100)
    stream.seek(place)
    assert read(stream, [400 - place]) == whole[place:]


def test_the_size_of_batches_does_not_change_the_order() -> None:
    subject, tokens = numbered(50, 8)
    one = read(ActivationStream(subject, HOOK, tokens, seed=3, buffer_inputs=96), [400])
    many = read(ActivationStream(subject, HOOK, tokens, seed=3, buffer_inputs=96), [7] * 57 + [1])
    assert one == many


def test_each_block_goes_through_the_subject_once() -> None:
    subject, tokens = numbered(200, 8)
    stream = ActivationStream(subject, HOOK, tokens, seed=0, buffer_inputs=300)
    read(stream, [100] * 16)
    assert subject.tokens_asked == tokens.size


def test_looking_at_samples_does_not_move_the_stream() -> None:
    subject, tokens = numbered(50, 8)
    stream = ActivationStream(subject, HOOK, tokens, seed=3, buffer_inputs=96)
    start = read(stream, [30])
    pieces: list[Tensor] = list(stream.sample(150, "looking"))
    seen = [int(value) for piece in pieces for value in piece[:, 0]]
    assert len(seen) == len(set(seen)) == 150
    rest = read(stream, [370])
    assert start + rest == read(ActivationStream(subject, HOOK, tokens, seed=3, buffer_inputs=96), [400])


def test_a_sample_is_fixed_by_seed_purpose_and_index() -> None:
    subject, tokens = numbered(300, 4)
    stream = ActivationStream(subject, HOOK, tokens, seed=3)

    def sample(purpose: str, index: int) -> list[float]:
        return torch.cat(list(stream.sample(40, purpose, index))).flatten().tolist()

    assert sample("a", 0) == sample("a", 0)
    assert sample("a", 0) != sample("a", 1)
    assert sample("a", 0) != sample("b", 0)


def test_more_positions_than_a_block_has_are_refused() -> None:
    subject, tokens = numbered(5, 8)
    with pytest.raises(BadInput, match=r"tokens_per_context is 9, but the corpus has blocks of 8 tokens"):
        ActivationStream(subject, HOOK, tokens, seed=0, tokens_per_context=9)
