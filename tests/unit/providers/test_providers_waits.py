"""How long a server asks to wait, in each form in which vendors say it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.providers.waits import wait_s


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


SPANS = {"6m0s": 360.0, "1s": 1.0, "12ms": 0.012, "1h2m3.5s": 3723.5, "2d": 172800.0, "30": 30.0, "0.5": 0.5}


@pytest.mark.parametrize("said", SPANS)
def test_resets_of_openai_are_spans(said: str) -> None:
    assert wait_s({"x-ratelimit-reset-requests": said}) == pytest.approx(SPANS[said])


def test_resets_of_anthropic_are_times() -> None:
    for moment in (later(90).isoformat(), later(90).strftime("%Y-%m-%dT%H:%M:%SZ"), str(later(90).timestamp())):
        assert 60 < (wait_s({"anthropic-ratelimit-input-tokens-reset": moment}) or 0) <= 90


def test_the_servers_own_word_goes_before_its_resets() -> None:
    resets = {"x-ratelimit-reset-tokens": "5m"}
    assert wait_s({"retry-after": "7", **resets}) == 7.0
    assert wait_s({"retry-after-ms": "250", **resets}) == 0.25
    assert 30 < (wait_s({"retry-after": format_datetime(later(60), usegmt=True), **resets}) or 0) <= 60
    assert wait_s({"retry-after": "soon", **resets}) == 300.0


def test_the_exhausted_limit_counts_and_else_the_longest() -> None:
    headers = {
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-tokens": "6m0s",
        "x-ratelimit-remaining-tokens": "149984",
    }
    assert wait_s(headers) == 2.0
    assert wait_s({**headers, "x-ratelimit-remaining-tokens": "0"}) == 360.0
    assert wait_s({**headers, "x-ratelimit-remaining-requests": "1"}) == 360.0


UNSAID = ["", "0", "-1", "soon", "5 minutes", "nan", "inf", "2020-01-01T00:00:00Z", "1e999", "m", "5m5", "1700000000"]


@pytest.mark.parametrize("said", UNSAID)
def test_what_says_nothing_is_no_wait(said: str) -> None:
    for name in ("x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset"):
        assert wait_s({name: said}) is None
    assert wait_s({"x-ratelimit-limit-tokens": "5", "x-ratelimit-reset": "5"}) is None


@given(st.text(max_size=30))
def test_no_header_breaks_it(said: str) -> None:
    for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset"):
        wait = wait_s({name: said})
        assert wait is None or 0 <= wait < float("inf")
