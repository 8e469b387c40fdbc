"""How many calls may be open at once: more while all goes well, fewer at a sign of overload."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

__all__ = ["AdaptiveConcurrency", "Latencies"]

_DECREASE = 0.5


@dataclass(slots=True)
class AdaptiveConcurrency:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989), between `least` and `most`; begins with `most`.

    Answered calls widen it by one for each round of calls; a sign of overload halves it. Calls are numbered, and those
    that were open at a decrease belong to the time before it: they change nothing any more, so one burst of refusals
    counts once. After a refusal (429) only `least` calls may begin until one of them is answered: they try whether the
    limit is over.
    """

    most: int
    least: int = 1
    open: int = 0
    refusals: int = 0  # decreases by 429 since the last call was answered
    _width: float = field(init=False)
    _newest: int = 0
    _before: int = 0  # calls up to this number began before the last decrease
    _tries: int = 0  # open calls that began after it

    def __post_init__(self) -> None:
        self._width = float(self.most)

    @property
    def width(self) -> int:
        """How many calls may be open, refusals apart."""
        return int(self._width)

    @property
    def free(self) -> bool:
        """Whether one more call may begin."""
        return self.open < self.width and (not self.refusals or self._tries < self.least)

    def begin(self) -> int:
        """The number of a call that begins."""
        self._newest += 1
        self._tries += 1
        self.open += 1
        return self._newest

    def end(self, number: int) -> None:
        """It has ended; to be said before what it ended in."""
        self.open -= 1
        self._tries -= number > self._before

    def answered(self, number: int, *, slow: bool) -> None:
        """It was answered; slow: latency is inflated, which counts as overload."""
        if number <= self._before:
            return
        self.refusals = 0
        if slow:
            self._narrow()
        else:
            self._width = min(float(self.most), self._width + 1 / self._width)

    def overloaded(self, number: int) -> None:
        """The server had too much to do for this call."""
        if number > self._before:
            self._narrow()

    def refused(self, number: int) -> None:
        """It was refused by a rate limit."""
        if number > self._before:
            self.refusals += 1
            self._narrow()

    def _narrow(self) -> None:
        self._width = max(float(self.least), self._width * _DECREASE)
        self._before, self._tries = self._newest, 0


_RECENT = 0.2  # weight of a new latency in the recent mean
_DRIFT = 1.01  # how fast the least mean is forgotten: doubled after 70 calls
_INFLATED = 3.0
_SEEN = 10  # calls of a sort before they are judged
_LEAST_S = 1.0  # below it nothing is inflated: this process itself may be slow to look


@dataclass(slots=True)
class _Sort:
    calls: int = 0
    recent_s: float = 0.0
    least_s: float = 0.0


@dataclass(slots=True)
class Latencies:
    """Whether calls take longer than they did: the recent mean of a sort of calls beside the least it has had.

    Calls are compared with their own sort (kind and size), because a long reply is not an overload. The least mean
    drifts up, so that a server that became slower for good is taken as it is.
    """

    _sorts: dict[Hashable, _Sort] = field(default_factory=dict)

    def inflated(self, sort: Hashable, seconds: float) -> bool:
        """Takes note of an answered call's latency; whether its sort is now slow."""
        one = self._sorts.setdefault(sort, _Sort())
        one.calls += 1
        one.recent_s += (seconds - one.recent_s) * max(_RECENT, 1 / one.calls)
        if one.calls < _SEEN:
            one.least_s = one.recent_s
            return False
        one.least_s = min(one.least_s * _DRIFT, one.recent_s)
        return one.recent_s > _INFLATED * one.least_s and one.recent_s > _LEAST_S
