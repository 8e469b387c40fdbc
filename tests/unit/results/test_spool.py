"""Entries come back as `sorted` would give them, however many merges it took, and nothing stays on the disk."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from autointerp.results import spool
from autointerp.results.spool import Entry, Spool


def entries(number: int, seed: int) -> list[Entry]:
    """Keys as a table has them, some of them equal, with letters beyond ASCII; in no order."""
    rng = random.Random(seed)
    names = ["openai.simulation", "openai.simulation.random_only", "tm.é", "tm.\U0001f600", "tm.\uffff"]
    keys = [(rng.choice(names), rng.random() < 0.5, f"unit/{rng.randrange(number)}") for _ in range(number)]
    return [(key, rng.randbytes(rng.randrange(1, 60))) for key in keys]


@pytest.mark.parametrize("held_bytes", [1000, 5000, 10**9])
def test_entries_come_in_the_order_of_python_whatever_the_number_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_bytes: int
) -> None:
    monkeypatch.setattr(spool, "_HELD_BYTES", held_bytes)
    monkeypatch.setattr(spool, "_BLOCK_BYTES", 1500)
    monkeypatch.setattr(spool, "FAN_IN", 3)
    given = entries(400, seed=1)
    with closing(Spool(tmp_path)) as kept:
        for entry in given:
            kept.add(*entry)
        levels = [len(level) for level in kept._levels]
        assert (levels == [0]) == (held_bytes == 10**9)  # all in memory, else runs that were merged by threes
        assert max(levels) < 3
        assert len(levels) >= 4 or held_bytes == 10**9
        assert list(kept.in_order()) == sorted(given)
        assert list(tmp_path.iterdir()) == []


def test_nothing_is_kept_after_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_HELD_BYTES", 1000)
    with closing(Spool(tmp_path)) as kept:
        for entry in entries(20, seed=2):
            kept.add(*entry)
    assert list(kept.in_order()) == []
