"""What the ledger and the pacing cost: calls per second of a model over a provider that answers at once.

The bare loop asks the same provider with as many workers, and nothing is between: a ratio that says how far the
machinery is from free, not how fast a job is, because no server answers at once. Beside it the pacing alone, with all
of its limits in force and none reached. All take turns, so that other work on the machine hits all.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from autointerp.protocols import ChatReply, ChatRequest, Message
from autointerp.providers import Ledger, LedgeredModel, Limits, Pacing, ScriptedProvider
from autointerp.providers.retries import Patience
from autointerp.types import Usage

CALLS, WORKERS, ROUNDS = 2000, 32, 3
LIMITS = Limits(requests_per_minute=10**6, tokens_per_minute=10**9, concurrency=WORKERS)
REPLY = ChatReply("hi", "stop", "m", Usage(20, 2))


def run() -> dict[str, Any]:
    """Calls per second, ratios to the bare loop, and processor time of a call; medians."""
    with tempfile.TemporaryDirectory() as folder:
        rounds = [asyncio.run(_round(Path(folder) / f"{number}.sqlite")) for number in range(ROUNDS)]
    seconds = {name: statistics.median(one[name][0] for one in rounds) for name in rounds[0]}
    processor = {name: statistics.median(one[name][1] for one in rounds) for name in rounds[0]}
    return {
        "calls": CALLS,
        "workers": WORKERS,
        "calls_per_second": {name: round(CALLS / spent) for name, spent in seconds.items()},
        "of_bare": {name: round(seconds["bare"] / spent, 4) for name, spent in seconds.items() if name != "bare"},
        "processor_microseconds_a_call": {name: round(spent / CALLS * 1e6, 1) for name, spent in processor.items()},
    }


async def _round(path: Path) -> dict[str, tuple[float, float]]:
    provider = ScriptedProvider({"": REPLY})
    pacing = Pacing(LIMITS)

    async def paced(request: ChatRequest) -> None:
        with await pacing.begin(30, Patience(0.0)) as call:
            await provider.ask(request)
            call.answered(REPLY.usage)

    async with Ledger(path) as ledger:
        model = LedgeredModel(provider, "m", ledger, pacing=Pacing(LIMITS))
        ways = {"bare": provider.ask, "pacing": paced, "ledger_and_pacing": model.chat}
        return {name: await _seconds(ask) for name, ask in ways.items()}


async def _seconds(ask: Callable[[ChatRequest], Awaitable[Any]]) -> tuple[float, float]:
    """On the clock, and of the processor."""
    requests = iter([ChatRequest("m", (Message("user", str(number)),), 8) for number in range(CALLS)])

    async def worker() -> None:
        for request in requests:
            await ask(request)

    start, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return time.perf_counter() - start, time.process_time() - before


if __name__ == "__main__":
    json.dump(run(), sys.stdout, indent=1)
