"""Windows, random contexts, top tokens, and tokens in other contexts."""

from __future__ import annotations

import numpy as np
import pytest
from harvest_fakes import zipf_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sae.harvest.elsewhere import Occurrences, out_of_context, overlaps
from sae.harvest.keeper import Kept
from sae.harvest.records import TopContexts, commonest_tokens, random_foci, window_starts
from sae.harvest.scan import Text, choose_text, segments_per_block


@pytest.mark.parametrize(
    ("focus", "start"),
    [(0, 0), (3, 0), (4, 0), (5, 1), (12, 8), (15, 8), (16, 16), (20, 16), (21, 17), (31, 24)],
)
def test_windows_of_8_in_blocks_of_16_are_centred_and_stay_inside(focus: int, start: int) -> None:
    assert window_starts(np.array([focus]), 8, 16).tolist() == [start]


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 20), st.integers(0, 60), st.integers(0, 5000))
def test_a_window_holds_its_focus_and_lies_inside_its_segment(window: int, more: int, focus: int) -> None:
    block = window + more
    segments = segments_per_block(block, window)
    start = int(window_starts(np.array([focus]), window, block, segments)[0])
    assert start <= focus < start + window
    within = np.arange(start, start + window)
    assert len(set((within // block).tolist())) == 1
    assert len(set(((within % block) * segments // block).tolist())) == 1


@pytest.mark.parametrize(
    ("block", "window", "segments"), [(128, 64, 1), (256, 64, 2), (100, 64, 1), (21, 2, 5), (64, 64, 1)]
)
def test_segments_are_of_two_windows_or_more(block: int, window: int, segments: int) -> None:
    assert segments_per_block(block, window) == segments


def test_a_part_of_the_text_is_spread_evenly_over_the_split() -> None:
    blocks = np.zeros((10, 4), np.uint16)
    assert choose_text(blocks, None).rows.tolist() == list(range(10))
    assert choose_text(blocks, 20).rows.tolist() == [0, 2, 4, 6, 8]
    assert choose_text(blocks, 13).rows.tolist() == [0, 3, 6]
    assert choose_text(blocks, 1).rows.tolist() == [0]
    assert choose_text(blocks, 1000).rows.tolist() == list(range(10))


def test_random_contexts_are_in_distinct_chosen_blocks_and_repeat() -> None:
    text = Text(np.zeros((50, 8), np.uint16), np.arange(0, 50, 2))
    found = random_foci(text, 10, seed=3)
    assert found.tolist() == random_foci(text, 10, seed=3).tolist()
    assert found.tolist() != random_foci(text, 10, seed=4).tolist()
    assert len(set((found // 8).tolist())) == 10
    assert set((found // 8 % 2).tolist()) == {0}
    assert (np.diff(found) > 0).all()
    assert len(random_foci(text, 100, seed=3)) == 25


def test_every_token_is_a_random_focus_equally_often() -> None:
    text = Text(np.zeros((6, 4), np.uint16), np.arange(6))
    counts = np.zeros(24)
    for seed in range(1200):
        counts[random_foci(text, 2, seed)] += 1
    assert stats.chisquare(counts).pvalue > 1e-4


def test_commonest_tokens_by_frequency_then_by_rank() -> None:
    unit = np.array([0, 0, 0, 0, 2, 2, 2])
    token = np.array([7, 5, 5, 7, 1, 9, 4])
    found = commonest_tokens(unit, token, 3)
    assert found.shape == (3, 10)
    assert found[0].tolist() == [7, 5] + [-1] * 8
    assert found[1].tolist() == [-1] * 10
    assert found[2].tolist() == [1, 9, 4] + [-1] * 7


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=8), st.lists(st.integers(0, 60), max_size=8), st.integers(1, 9))
def test_overlap_of_windows_is_sharing_a_token(starts: list[int], others: list[int], window: int) -> None:
    found = overlaps(np.array(starts, np.int64), np.array(sorted(others), np.int64), window)
    spans = [set(range(start, start + window)) for start in others]
    assert found.tolist() == [any(span & set(range(s, s + window)) for span in spans) for s in starts]


def test_occurrences_are_a_uniform_sample_of_where_a_token_stands() -> None:
    blocks = zipf_blocks(0, 12, 10, 6).astype(np.uint16)
    text = Text(blocks, np.array([0, 1, 2, 4, 5, 6, 8, 9, 10, 11]))
    everywhere = np.flatnonzero(np.isin(np.arange(120) // 10, text.rows) & (blocks.reshape(-1) == 1))
    counts = np.zeros(120)
    for seed in range(600):
        found = Occurrences(text, np.array([1, 5]), 3, seed).of(1)
        assert len(found) == 3
        counts[found] += 1
    assert set(np.flatnonzero(counts).tolist()) == set(everywhere.tolist())
    assert stats.chisquare(counts[everywhere]).pvalue > 1e-4


@pytest.mark.parametrize(("highest", "dtype"), [(39, np.uint16), (65_535, np.uint16), (70_000, np.uint32)])
def test_occurrences_of_a_rare_token_are_all_there(highest: int, dtype: type) -> None:
    blocks = (highest - zipf_blocks(1, 30, 10, 40)).astype(dtype)
    text = choose_text(blocks, None)
    wanted = np.arange(highest - 39, highest + 1)
    found = Occurrences(text, wanted, 1000, 0)
    for token in wanted.tolist():
        assert sorted(found.of(token).tolist()) == np.flatnonzero(blocks.reshape(-1) == token).tolist()


def test_out_of_context_tokens_are_top_tokens_outside_the_top_contexts_in_even_rounds() -> None:
    window, size = 4, 12
    text = choose_text(zipf_blocks(2, 60, size, 8).astype(np.uint16), None)
    stream = text.blocks.reshape(-1)
    position = np.sort(np.random.default_rng(0).choice(len(stream), 9, replace=False))
    unit = np.array([0, 0, 0, 0, 2, 2, 2, 2, 2])
    none = np.zeros(9, np.float32)
    start = window_starts(position, window, size)
    tokens = commonest_tokens(unit, text.tokens_at(position), 3)
    top = TopContexts(Kept(unit, none.astype(np.uint32), position, none), start, tokens)
    found_unit, found = out_of_context(top, text, window, 11, seed=0)
    assert np.bincount(found_unit, minlength=3).tolist() == [11, 0, 11]
    for each in (0, 2):
        mine = found[found_unit == each]
        assert len(set(mine.tolist())) == 11
        wanted = tokens[each][tokens[each] >= 0]
        assert set(stream[mine].tolist()) <= set(wanted.tolist())
        assert stream[mine][: len(wanted)].tolist() == wanted.tolist()  # the first round: each top token once
        inside = {p for s in start[unit == each] for p in range(s, s + window)}
        assert not inside & {p for s in window_starts(mine, window, size) for p in range(s, s + window)}


def test_a_token_that_stands_in_top_contexts_alone_has_no_other_context() -> None:
    blocks = np.zeros((3, 8), np.uint16)
    blocks[1, 4] = 5
    text = choose_text(blocks, None)
    one = np.array([12])
    peaks = Kept(np.array([0]), np.zeros(1, np.uint32), one, np.ones(1, np.float32))
    top = TopContexts(peaks, window_starts(one, 4, 8), commonest_tokens(np.array([0]), np.array([5]), 1))
    unit, found = out_of_context(top, text, 4, 6, seed=0)
    assert len(unit) == len(found) == 0
