"""How long a server asks to wait, in each form in which vendors say it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.providers.rate_limit_headers import retry_after_s

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)  # by the server's clock, which is not this machine's
DATE = {"date": format_datetime(NOON, usegmt=True)}
SPANS = {
    "6m0s": 360.0,
    "1s": 1.0,
    "7.66s": 7.66,
    "12ms": 0.012,
    "1h2m3.5s": 3723.5,
    "2d": 172800.0,
    "30": 30.0,
    "0.5": 0.5,
}


def used_up(said: str, what: str = "tokens", left: str = "0") -> dict[str, str]:
    """OpenAI's headers for one limit."""
    return {f"x-ratelimit-reset-{what}": said, f"x-ratelimit-remaining-{what}": left}


@pytest.mark.parametrize("said", SPANS)
def test_resets_of_openai_are_spans(said: str) -> None:
    assert retry_after_s(used_up(said)) == pytest.approx(SPANS[said])


def test_resets_of_anthropic_are_times() -> None:
    later = NOON + timedelta(seconds=90)
    for moment in (later.isoformat(), "2026-01-02T12:01:30Z", "2026-01-02T12:01:30", str(later.timestamp())):
        headers = {"anthropic-ratelimit-input-tokens-reset": moment, "anthropic-ratelimit-input-tokens-remaining": "0"}
        assert retry_after_s({**headers, **DATE}) == pytest.approx(90)


def test_retry_after_is_seconds_milliseconds_or_a_date_and_goes_before_resets() -> None:
    resets = used_up("5m")
    assert retry_after_s({"retry-after": "7", **resets}) == 7.0
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "9", **resets}) == 0.25
    assert retry_after_s({"retry-after": "-3"}) == 0.0
    minute = format_datetime(NOON + timedelta(seconds=60), usegmt=True)
    assert retry_after_s({"retry-after": minute, **resets, **DATE}) == 60.0
    assert retry_after_s({"retry-after": format_datetime(NOON - timedelta(days=1)), **DATE}) == 0.0
    without_zone = "Fri, 02 Jan 2026 12:05:00 -0000"  # RFC 5322: in universal time
    assert retry_after_s({"retry-after": without_zone, **DATE}) == 300.0
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 30 < (retry_after_s({"retry-after": soon}) or 0) <= 90
    assert retry_after_s({"retry-after": "soon", **resets}) == 300.0


def test_the_latest_reset_of_the_limits_that_are_used_up_counts() -> None:
    assert retry_after_s({**used_up("2s", "requests"), **used_up("6m0s", left="149984")}) == 2.0
    assert retry_after_s({**used_up("2s", "requests"), **used_up("6m0s")}) == 360.0
    assert retry_after_s({**used_up("120ms", "requests"), **used_up("7.66s")}) == 7.66
    assert retry_after_s(used_up("2s", left="1")) is None


UNSAID = [
    "",
    "0",
    "-1",
    "soon",
    "6m0sx",
    "5 minutes",
    "nan",
    "inf",
    "2020-01-01T00:00:00Z",
    "1e999",
    "m",
    "5m5",
    "1700000000",
]


@pytest.mark.parametrize("said", UNSAID)
def test_what_says_nothing_is_no_wait(said: str) -> None:
    assert retry_after_s(used_up(said)) is None
    assert retry_after_s({"anthropic-ratelimit-a-reset": said, "anthropic-ratelimit-a-remaining": "0"}) is None


def test_without_headers_nothing_is_said() -> None:
    for headers in ({}, DATE, {"retry-after": "nan"}, {"retry-after": "inf"}, {"x-ratelimit-reset-tokens": "5s"}):
        assert retry_after_s(headers) is None


@given(st.text(max_size=30))
def test_no_header_breaks_it(said: str) -> None:
    reset = {"anthropic-ratelimit-a-reset": said, "anthropic-ratelimit-a-remaining": "0"}
    for headers in ({"retry-after": said}, {"retry-after-ms": said}, {"date": said, **reset}, used_up(said), reset):
        wait = retry_after_s(headers)
        assert wait is None or 0 <= wait < float("inf")
