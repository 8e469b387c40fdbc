"""What the calls of one model cost, and the budget that they are paid from."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from autointerp.protocols import Capabilities, ChatRequest, Request
from autointerp.providers.budget import Budget, Reservation
from autointerp.providers.prices import Price, cost_usd, most_usd
from autointerp.providers.token_estimate import TokenEstimate
from autointerp.types import Usage

__all__ = ["Billing", "most_generated"]


class Billing:
    """Sets money aside for a call, and settles it with what the call cost.

    price: None where nobody knows one: such calls take nothing from the budget. Whoever sets a cap sees to it that
    every model has a price.
    """

    def __init__(self, price: Price | None = None, budget: Budget | None = None) -> None:
        self.price = price
        self.budget = budget or Budget()

    async def reserve(self, request: Request, can: Capabilities, estimate: TokenEstimate) -> Reservation:
        """Waits until the most that the call can cost is set aside. Raises BudgetExceeded."""
        if self.price is None:
            return await self.budget.reserve(Decimal(0))
        tokens = estimate.most(request), most_generated(request, can)
        return await self.budget.reserve(most_usd(self.price, *tokens, datetime.now(UTC)))

    def settle(
        self, money: Reservation, usage: Usage | None, asked_at: datetime, *, batch: bool = False
    ) -> Decimal | None:
        """What the call cost, as `cost` says, is taken from the budget in the place of what was set aside."""
        cost = self.cost(usage, asked_at, batch=batch)
        if cost is not None:
            money.settle(cost)
        return cost

    def cost(self, usage: Usage | None, asked_at: datetime, *, batch: bool = False) -> Decimal | None:
        """What a call cost, by a batch or live; None where nobody said what it used, or knows what that costs.

        usage: None where an attempt failed and nobody said; zeros where nothing was billed.
        """
        if self.price is None or usage is None:
            return None
        return cost_usd(self.price, usage, asked_at, batch=batch)


def most_generated(request: Request, can: Capabilities) -> int:
    """How many tokens a call may generate, hidden reasoning included. An echo generates one, which nobody reads."""
    return request.max_tokens + can.reasoning_room if isinstance(request, ChatRequest) else 1
