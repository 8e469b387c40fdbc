"""Requests per minute, counted by asyncio-throttle."""

from __future__ import annotations

from asyncio_throttle.throttler import Throttler

from autointerp.providers.token_window import MINUTE_S

__all__ = ["RequestWindow"]

_LATE_S = 0.05  # the throttler lets go a little after the minute, never on it


class RequestWindow(Throttler):
    """A throttler that also says how long the next request has to wait, without counting it.

    So it can be asked together with what else a call waits for, and `acquire`, which counts a request, passes at once.
    """

    def __init__(self, per_minute: int) -> None:
        super().__init__(per_minute, period=MINUTE_S, retry_interval=_LATE_S)

    def wait_s(self, now: float) -> float:
        """Seconds until one more request may be made; 0.0 where it may. now: of the throttler's clock."""
        self.flush()  # type: ignore[no-untyped-call]
        begun = self._task_logs
        return 0.0 if len(begun) < self.rate_limit else max(_LATE_S, begun[0] + self.period - now)
