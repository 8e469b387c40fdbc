"""Waits that a test need not sit through."""

from __future__ import annotations

import random

import pytest

from autointerp.errors import ProviderError
from autointerp.providers import RetryPolicy, pacing

__all__ = ["shorten_waits"]

_MOST_S = 0.05


def shorten_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff and the pauses after a 429 that names no time are as they are, only in fiftieths of a second."""
    policy_s = RetryPolicy.wait_s

    def wait_s(self: RetryPolicy, failures: int, error: ProviderError, jitter: random.Random) -> float:
        return min(_MOST_S, policy_s(self, failures, error, jitter))

    monkeypatch.setattr(RetryPolicy, "wait_s", wait_s)
    monkeypatch.setattr(pacing, "_FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(pacing, "_LONGEST_PAUSE_S", _MOST_S)
