"""How long a server asks to wait, from the headers of its refusal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["retry_after_s"]

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server wants to be asked again; None where it does not say. `headers` has lower-case names.

    `retry-after-ms` and `retry-after` (seconds, or a date, which is read against the server's own `date` where it sent
    one: this machine's clock may be wrong) go first. Then the limits that are used up: `x-ratelimit-reset-requests` and
    `-tokens`, in OpenAI's form ("6m0s", "120ms"), where `x-ratelimit-remaining-...` is 0; the later of the two.
    """
    said = headers.get("retry-after", "")
    try:
        wait = float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(said)
    except ValueError:
        return _until_date(said, headers.get("date", "")) if said else _until_reset(headers)
    return max(0.0, wait) if math.isfinite(wait) else None


def _until_date(said: str, sent: str) -> float | None:
    try:
        return max(0.0, (_date(said) - (_date(sent) if sent else datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError):
        return None


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date


def _until_reset(headers: Mapping[str, str]) -> float | None:
    waits = [
        _duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _duration_s(text: str) -> float | None:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
