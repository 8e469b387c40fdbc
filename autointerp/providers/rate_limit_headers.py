"""How long a server asks to wait, by the headers of its answer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["retry_after_s"]

# OpenAI: x-ratelimit-reset-requests, -tokens; Anthropic: anthropic-ratelimit-requests-reset, -input-tokens-reset, ...
_RESET = re.compile(r"x-ratelimit-reset-[a-z_-]+|anthropic-ratelimit-[a-z-]+-reset")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_EPOCH = 1e9  # a number this large is no span but a time, in seconds since 1970


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait; None where it does not say. headers: names in lower case.

    `retry-after-ms` and `retry-after` (seconds or a date) go first, then the latest reset of the limits that are used
    up, by the vendors' headers for the reset and what remains. A reset that has passed says nothing. Dates are read
    against the server's own `date`, where it sent one, since this machine's clock may be wrong.
    """
    said = headers.get("retry-after", "")
    now = _now(headers)
    try:
        wait = float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(said)
    except ValueError:
        date = _http_date(said)
        if date is None:
            return _until_reset_s(headers, now)
        wait = (date - now).total_seconds()
    return max(0.0, wait) if math.isfinite(wait) else None


def _now(headers: Mapping[str, str]) -> datetime:
    return _http_date(headers.get("date", "")) or datetime.now(UTC)


def _http_date(text: str) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(text))
    except (ValueError, TypeError):
        return None


def _until_reset_s(headers: Mapping[str, str], now: datetime) -> float | None:
    used_up = [
        headers[name]
        for name in headers
        if _RESET.fullmatch(name) and headers.get(name.replace("reset", "remaining")) == "0"
    ]
    waits = [_span_s(said, now) for said in used_up]
    return max((wait for wait in waits if math.isfinite(wait) and wait > 0), default=None)


def _span_s(said: str, now: datetime) -> float:
    """Seconds of "6m0s", "12ms", "30", or until a time in ISO 8601 or in seconds since 1970; NaN for anything else."""
    parts = _PART.findall(said)
    if parts and "".join(number + unit for number, unit in parts) == said:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        number = float(said)
    except ValueError:
        return _until_iso_s(said, now)
    return number - now.timestamp() if number > _EPOCH else number


def _until_iso_s(said: str, now: datetime) -> float:
    try:
        return (_aware(datetime.fromisoformat(said)) - now).total_seconds()
    except ValueError:
        return math.nan


def _aware(moment: datetime) -> datetime:
    """A time without a zone is in UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
