"""Tokens per minute: reserved before a call by an estimate, settled after it by what the server counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["MINUTE_S", "Reservation", "TokenWindow"]

MINUTE_S = 60.0


@dataclass(slots=True, eq=False)
class Reservation:
    """Tokens that count until `expires_at` (of the window's clock); `open` until they are settled."""

    tokens: int
    expires_at: float
    open: bool = True


@dataclass(slots=True)
class TokenWindow:
    """A sliding minute that holds at most `limit` tokens (None: any number); whoever reserves has waited first.

    A reservation counts from its call for a minute, or less once it is settled with less. What a call used beyond its
    reservation counts for a minute from when that is known, and later calls wait for it: over the limit for once, as
    nobody could know better. An estimate above the whole limit waits for an empty window and reserves all of it: the
    server is left to say whether it takes such a request.
    """

    limit: int | None
    clock: Callable[[], float]
    reserved: int = 0  # tokens of open reservations
    _used: int = 0
    _entries: deque[Reservation] = field(default_factory=deque)

    def wait_s(self, tokens: int) -> float:
        """Seconds until so many tokens fit, by what is known now; 0.0 where they do."""
        if self.limit is None:
            return 0.0
        now = self.clock()
        self._forget(now)
        excess = self._used + min(tokens, self.limit) - self.limit
        for entry in self._entries:
            if excess <= 0:
                return 0.0
            excess -= entry.tokens
            if excess <= 0:
                return entry.expires_at - now
        return 0.0

    def reserve(self, tokens: int) -> Reservation:
        """Counts the tokens of a call that begins now."""
        taken = Reservation(tokens, 0.0) if self.limit is None else self._counted(min(tokens, self.limit))
        self.reserved += taken.tokens
        return taken

    def settle(self, taken: Reservation, used: int | None) -> None:
        """The call has ended with so many tokens; None: nobody knows, so the estimate stands. Once for each."""
        if not taken.open:
            raise ValueError("a reservation is settled once")
        taken.open = False
        self.reserved -= taken.tokens
        if self.limit is None or used is None:
            return
        if used > taken.tokens:
            self._counted(used - taken.tokens)
        elif taken.expires_at > self.clock():
            self._used -= taken.tokens - used
            taken.tokens = used

    def _counted(self, tokens: int) -> Reservation:
        now = self.clock()
        self._forget(now)
        entry = Reservation(tokens, now + MINUTE_S)
        self._entries.append(entry)
        self._used += tokens
        return entry

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0].expires_at <= now:
            self._used -= self._entries.popleft().tokens
