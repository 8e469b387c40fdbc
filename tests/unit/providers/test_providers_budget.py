"""A cap is never crossed, whatever the order in which calls end; and money that comes back is used."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_samples import chat_request

from autointerp.errors import BadReply, BudgetExceeded, ContextOverflow, RateLimited, Transient
from autointerp.protocols import ChatReply, ChatRequest, Request
from autointerp.providers.billing import Billing
from autointerp.providers.budget import Budget
from autointerp.providers.ledger import Ledger
from autointerp.providers.model import LedgeredModel
from autointerp.providers.pacing import Limits, Pacing
from autointerp.providers.prices import GivenPrice
from autointerp.providers.scripted import ScriptedProvider
from autointerp.types import Usage

CENTS = st.integers(1, 50)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(CENTS, st.floats(0, 1), st.sampled_from(["answered", "unknown", "never sent"])), max_size=25),
    st.integers(0, 300),
    st.randoms(use_true_random=False),
)
def test_a_cap_is_never_crossed_and_never_refuses_too_early(
    calls: list[tuple[int, float, str]], cap: int, order: random.Random
) -> None:
    budget = Budget(Decimal(cap))
    costs: list[Decimal] = []
    refused: list[Decimal] = []

    async def call(most: int, share: float, end: str) -> None:
        for _ in range(order.randrange(4)):
            await asyncio.sleep(0)
        before = budget.spent + budget.uncertain
        try:
            money = await budget.reserve(Decimal(most))
        except BudgetExceeded:
            if not refused:  # it could not have been paid even if all that was open had turned out to cost nothing
                assert budget.spent + budget.uncertain + most > cap
            refused.append(before)
            return
        assert budget.spent + budget.uncertain + budget.reserved <= cap
        with money:
            if end != "never sent":
                money.sent = True
            for _ in range(order.randrange(6)):
                await asyncio.sleep(0)
            if end == "answered":
                costs.append(Decimal(most) * Decimal(str(share)))
                money.settle(costs[-1])
            elif end == "unknown":
                costs.append(Decimal(most))

    async def run() -> None:
        await asyncio.wait_for(asyncio.gather(*(call(*one) for one in calls)), 60)

    asyncio.run(run())
    assert sum(costs) <= cap
    assert budget.spent + budget.uncertain == sum(costs)
    assert budget.reserved == 0
    if sum(most for most, _, _ in calls) <= cap:
        assert not refused


async def test_a_call_waits_for_what_open_calls_may_give_back() -> None:
    budget = Budget(Decimal(10))
    first = await budget.reserve(Decimal(8))
    waiting = asyncio.create_task(budget.reserve(Decimal(6)))
    await asyncio.sleep(0)
    assert not waiting.done()
    with first:
        first.sent = True
        first.settle(Decimal(3))
    assert (await waiting).usd == 6
    with pytest.raises(BudgetExceeded, match=r"up to \$8\.0000, and \$3\.0000 of \$10 are spent.*--max-cost"):
        await budget.reserve(Decimal(8))
    with pytest.raises(BudgetExceeded):  # the run stops, so nothing more is begun
        await budget.reserve(Decimal(0))


class Priced(ScriptedProvider):
    """Answers after a while, and writes fewer tokens than there is room for."""

    def __init__(self, seed: int, fails: bool = False) -> None:
        super().__init__({})
        self._order = random.Random(seed)
        self._fails = fails

    async def ask(self, request: Request) -> ChatReply:
        assert isinstance(request, ChatRequest)
        self.asked.append(request)
        await asyncio.sleep(self._order.random() / 500)
        chance = self._order.random() if self._fails else 1.0
        if chance < 0.2:
            raise RateLimited("429", 0.0)
        if chance < 0.3:
            raise Transient("cut")
        length = len(request.messages[0].content)  # a tokenizer's tokens have three to four characters
        used = Usage(self._order.randrange(length // 4, length // 3), self._order.randrange(1, 9))
        if chance < 0.4:
            error = BadReply("a reply that nobody can read")
            error.usage = used
            raise error
        return ChatReply("x", "stop", "m", used)


async def _no_sleep(_: float) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_run_stops_at_its_cap_and_goes_on_with_a_higher_one(ledger: Ledger, fails: bool) -> None:
    requests = [chat_request(f"question {number:3d} " + "word " * 20) for number in range(60)]
    price = GivenPrice(1000.0, 5000.0)  # a dime or so for each call

    async def run(cap: str, seed: int) -> tuple[Budget, Priced, int]:
        budget, provider = Budget(Decimal(cap)), Priced(seed, fails)
        model = LedgeredModel(
            provider, "m", ledger, pacing=Pacing(Limits(concurrency=6)), billing=Billing(price, budget), sleep=_no_sleep
        )
        done = await asyncio.gather(*map(model.chat, requests), return_exceptions=True)
        await model.finish()
        stopped = sum(isinstance(one, BudgetExceeded) for one in done)
        unexpected = [
            one for one in done if isinstance(one, Exception) and not isinstance(one, BudgetExceeded | BadReply)
        ]
        assert not unexpected
        assert budget.spent + budget.uncertain <= Decimal(cap)
        assert float(budget.spent) == pytest.approx(model.counters.cost_usd)
        assert float(budget.uncertain) == pytest.approx(model.counters.uncertain_usd)
        return budget, provider, stopped

    first, _, stopped = await run("2", seed=1)
    assert stopped > 0
    answered = ledger.statistics().answered
    assert 0 < answered < 60
    second, provider, stopped = await run("100", seed=2)
    assert stopped == 0
    recorded = ledger.statistics()
    assert len({request.messages for request in provider.asked}) == 60 - answered  # nothing is paid twice
    assert sum(model.cost_usd for model in recorded.models) == pytest.approx(float(first.spent + second.spent))
    assert sum(model.unpriced for model in recorded.models) == 0


@pytest.mark.parametrize(
    ("error", "cost", "uncertain"),
    [
        (ContextOverflow("refused"), 0.0, False),
        (BadReply("HTML"), 0.0, True),
    ],
)
async def test_of_a_failed_call_nobody_paid_for_and_of_one_nobody_knows(
    ledger: Ledger, error: Exception, cost: float, uncertain: bool
) -> None:
    budget = Budget(Decimal(5))
    model = LedgeredModel(
        ScriptedProvider({"": error}), "m", ledger, billing=Billing(GivenPrice(1000.0, 1000.0), budget)
    )
    with pytest.raises(type(error)):
        await model.chat(chat_request())
    assert (float(budget.spent), bool(budget.uncertain)) == (cost, uncertain)
    assert (model.counters.uncertain_usd > 0) is uncertain


async def test_a_reply_whose_usage_is_not_told_is_unpriced_and_counted_at_its_most(ledger: Ledger) -> None:
    budget = Budget(Decimal(5))
    provider = ScriptedProvider({"": ChatReply("x", "stop", "m", Usage())})
    model = LedgeredModel(provider, "m", ledger, billing=Billing(GivenPrice(1000.0, 1000.0), budget))
    await model.chat(chat_request())
    assert (model.counters.unpriced, budget.spent) == (1, 0)
    assert budget.uncertain > 0
    assert ledger.statistics().models[0].unpriced == 1
