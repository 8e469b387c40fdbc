"""A cap on spending: nothing is asked that could cross it.

Before a call is made the most that it can cost is set aside; when it has ended, what it did cost takes the place of
that. A call for which there is not enough left waits, as long as calls that are open may turn out cheaper than what is
set aside for them; after that the budget is closed, since the run stops, and no further call is begun.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from autointerp.errors import BudgetExceeded

__all__ = ["Budget", "Reservation"]

_NOTHING = Decimal(0)


class Budget:
    """The money of one command, shared by all its models. One event loop's.

    most_usd: the cap; None: there is none, and spending is only counted.
    spent: what calls are known to have cost; uncertain: the most that those can have cost of which nobody said (a
    connection that was cut after the request was sent): it counts against the cap. So spent + uncertain never exceeds
    the cap as long as no call costs more than was set aside for it.
    """

    def __init__(self, most_usd: Decimal | None = None) -> None:
        self.most_usd = most_usd
        self.spent = _NOTHING
        self.uncertain = _NOTHING
        self._reserved = _NOTHING
        self._open = 0
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def reserved(self) -> Decimal:
        """What is set aside for calls that have not ended."""
        return self._reserved

    async def reserve(self, usd: Decimal) -> Reservation:
        """Sets aside the most that a call can cost; make it in `with`.

        Raises BudgetExceeded where there is not enough left, and there will not be.
        """
        while not self._fits(usd):
            if self._closed or not self._may_fit(usd):
                self._close()
                raise BudgetExceeded(self._explained(usd))
            await self._change()
        self._open += 1
        self._reserved += usd
        return Reservation(self, usd)

    def _fits(self, usd: Decimal) -> bool:
        if self.most_usd is None:
            return True
        return not self._closed and self.spent + self.uncertain + self._reserved + usd <= self.most_usd

    def _may_fit(self, usd: Decimal) -> bool:
        """Whether it would fit if all that is open cost nothing."""
        return bool(self._open) and self.most_usd is not None and self.spent + self.uncertain + usd <= self.most_usd

    def _settled(self, reserved: Decimal, spent: Decimal, uncertain: Decimal) -> None:
        self._open -= 1
        self._reserved -= reserved
        self.spent += spent
        self.uncertain += uncertain
        self._wake()

    def _close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def _change(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _explained(self, usd: Decimal) -> str:
        unsure = f", and up to ${self.uncertain:.4f} for calls that were cut off" if self.uncertain else ""
        return (
            f"the next call may cost up to ${usd:.4f}, and ${self.spent:.4f} of ${self.most_usd} are spent{unsure}: "
            "what is done is saved; the same command with a higher cap (--max-cost) goes on from here"
        )


class Reservation:
    """Money set aside for one call. Use as `with` around it.

    sent: set it when the request goes out. settle: say what it cost. Of a call that was never sent the money is given
    back; of one that was sent and of which nobody said what it cost, it stays counted.
    """

    def __init__(self, budget: Budget, usd: Decimal) -> None:
        self.usd = usd
        self.sent = False
        self._budget = budget
        self._cost: Decimal | None = None

    def settle(self, cost: Decimal) -> None:
        """What the call did cost."""
        self._cost = cost

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        known = self._cost is not None or not self.sent
        self._budget._settled(self.usd, self._cost or _NOTHING, _NOTHING if known else self.usd)
