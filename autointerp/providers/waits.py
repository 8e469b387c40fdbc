"""How long a server asks to wait, by the headers of its answer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["retry_after_s", "wait_s"]

# OpenAI: x-ratelimit-reset-requests, -tokens; Anthropic: anthropic-ratelimit-requests-reset, -input-tokens-reset, ...
_RESET = re.compile(r"x-ratelimit-reset-[a-z_-]+|anthropic-ratelimit-[a-z-]+-reset")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_EPOCH = 1e9  # a number this large is no span but a time, in seconds since 1970


def wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait after a 429: what `retry_after_s` says, else until exhausted limits are reset; None if unsaid.

    headers: names in lower case. Where no limit is said to be exhausted the longest reset counts: the request was too
    large for what was left. A reset that has passed says nothing.
    """
    told = retry_after_s(headers)
    return _until_reset_s(headers) if told is None else told


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait, by `retry-after-ms` or `retry-after` (seconds or a date); None where unsaid."""
    said = headers.get("retry-after", "")
    try:
        wait = float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(said)
    except ValueError:
        try:
            wait = _seconds_until(parsedate_to_datetime(said))
        except (ValueError, TypeError):
            return None
    return max(0.0, wait) if math.isfinite(wait) else None


def _until_reset_s(headers: Mapping[str, str]) -> float | None:
    waits = {name: wait for name in headers if _RESET.fullmatch(name) and (wait := _span_s(headers[name]))}
    exhausted = [wait for name, wait in waits.items() if headers.get(name.replace("reset", "remaining")) == "0"]
    return max(exhausted or waits.values(), default=None)


def _span_s(said: str) -> float | None:
    """Seconds of "6m0s", "12ms", "30", a time in ISO 8601 or since 1970; None for what is neither, or has passed."""
    wait: float
    try:
        wait = float(said)
        wait -= datetime.now(UTC).timestamp() if wait > _EPOCH else 0.0
    except ValueError:
        parts = _PART.findall(said)
        if "".join(number + unit for number, unit in parts) == said:
            wait = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        else:
            wait = _seconds_until_iso(said)
    return wait if math.isfinite(wait) and wait > 0 else None


def _seconds_until_iso(said: str) -> float:
    try:
        return _seconds_until(datetime.fromisoformat(said))
    except ValueError:
        return math.nan


def _seconds_until(moment: datetime) -> float:
    """A time without a zone is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime.now(UTC)).total_seconds()
