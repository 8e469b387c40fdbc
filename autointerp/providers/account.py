"""What the models of one key share: the pauses that their server asks for, and the places for open calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Account", "Member", "Pause"]


@dataclass(slots=True)
class Pause:
    """A stretch of time in which nothing is asked, and how long all of them were. Times of the pacing's clock."""

    since: float = 0.0
    until: float = -math.inf
    before_s: float = 0.0

    def total_s(self, now: float) -> float:
        """Seconds of all stretches until now."""
        return self.before_s + max(0.0, min(now, self.until) - self.since)

    def extend(self, now: float, seconds: float) -> None:
        """Nothing is asked for so many seconds from now, or for longer where that was said before."""
        if now >= self.until:
            self.before_s, self.since = self.total_s(now), now
        self.until = max(self.until, now + seconds)


@dataclass(slots=True, eq=False)
class Member:
    """One model of an account. pause: its own and the account's; changed: set when its next call may look again."""

    pause: Pause = field(default_factory=Pause)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Account:
    """A key's models. Their open calls together are at most the largest number that one of them may have.

    So a server of one's own that takes four calls at once gets four, whichever of its models they are for. Who finds no
    place stands in line for one, model by model, or a busy model would take each place again in the moment in which it
    gave it back.
    """

    def __init__(self) -> None:
        self.open = 0
        self._most = 0
        self._members: list[Member] = []
        self._line: dict[Member, None] = {}  # whose next call waits for a place and for nothing else, the first first
        self._paused_until = -math.inf

    def joined(self, most: int, now: float) -> Member:
        """A further model, of which at most so many calls may be open. It is paused where the account is."""
        member = Member()
        member.pause.extend(now, max(0.0, self._paused_until - now))
        self._members.append(member)
        self._most = max(self._most, most)
        return member

    def place_for(self, member: Member) -> bool:
        """Whether the model's next call may begin as far as places go. Where not, it stands in line from now on."""
        if not self._line and self.open < self._most:
            return True
        self._line.setdefault(member)
        return self.open + list(self._line).index(member) < self._most

    def leave_line(self, member: Member) -> None:
        """The model's next call begins, or is gone, or waits for something else and so is in nobody's way."""
        if member in self._line:
            del self._line[member]
            _wake(self._line)

    def begin(self) -> None:
        """One more call is open."""
        self.open += 1

    def end(self) -> None:
        """One of them has ended."""
        self.open -= 1
        _wake(self._line)

    def pause(self, now: float, seconds: float) -> None:
        """The server asks for it: nothing of this key is asked for so many seconds."""
        self._paused_until = max(self._paused_until, now + seconds)
        for member in self._members:
            member.pause.extend(now, seconds)
        _wake(self._members)  # who waits longer than a request may says so at once


def _wake(members: Iterable[Member]) -> None:
    for member in members:
        member.changed.set()
