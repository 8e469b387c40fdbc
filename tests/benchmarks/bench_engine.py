"""The job engine beside a bare loop over the same SDK: calls per second, against a server that answers at once.

The engine is what a job asks through: a provider, a ledger on the disk, and pacing with every limit in force and none
reached. As in a job, more units are under way than calls may be open, so that there is always one whose call is ready
while another's reply is written to the disk; no more calls are open than the bare loop has workers. That is what one
would write instead, the SDK's own method (`create`) with as many workers; "raw" is the cheapest call the SDK
offers, whose answer is left as text. No server answers at once, so a ratio says how far the engine is from free, not
how fast a job is. All ways take turns on the same prompts, which are as long as a simulator's.

The server is a process of its own. Where it has no processor to itself the ratios flatter the engine, since waiting for
the server is the same for all; the processor time of a call beside them does not.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from autointerp.jobs.run import UNITS_PER_CALL
from autointerp.protocols import ChatRequest, Message, Provider
from autointerp.providers import (
    AnthropicProvider,
    Ledger,
    LedgeredModel,
    Limits,
    OpenAICompatibleProvider,
    OpenAIProvider,
    Pacing,
)
from tests.benchmarks.quick_server import quick_server

CALLS, WORKERS, ROUNDS = 300, 16, 7
LIMITS = Limits(requests_per_minute=10**6, tokens_per_minute=10**9, concurrency=WORKERS)
MODELS = {"openai": "gpt-4.1-mini", "openai_compatible": "m", "anthropic": "claude-haiku-4-5"}
TURNS = ("system", "user", "assistant", "user", "assistant", "user", "assistant", "user")
WORDS = "the level of every token of this text, in order, as it was given " * 12

Ask = Callable[[ChatRequest], Awaitable[Any]]


def run() -> dict[str, Any]:
    """Medians of the rounds: calls per second, the engine's over the others', and microseconds of processor a call."""
    with quick_server() as address, tempfile.TemporaryDirectory() as folder:
        found = {name: asyncio.run(_rounds(name, address, Path(folder))) for name in MODELS}
    return {"calls": CALLS, "workers": WORKERS, "rounds": ROUNDS, **found}


async def _rounds(name: str, address: str, folder: Path) -> dict[str, Any]:
    provider, ways, close = _ways(name, address)
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in (*ways, "engine")}
    async with Ledger(folder / f"{name}.sqlite") as ledger:
        model = LedgeredModel(provider, MODELS[name], ledger, pacing=Pacing(LIMITS))
        asks: Mapping[str, Ask] = {**ways, "engine": model.chat}
        for number in range(ROUNDS + 1):
            for way, ask in asks.items():
                workers = UNITS_PER_CALL * WORKERS if way == "engine" else WORKERS
                seconds = await _seconds(ask, [_request(name, f"{number} {i}") for i in range(CALLS)], workers)
                if number:  # the first round opens connections and imports
                    spent[way].append(seconds)
        assert model.counters.live == CALLS * (ROUNDS + 1)
    await close()
    await provider.close()
    clock = {way: [one[0] for one in times] for way, times in spent.items()}
    return {
        "calls_per_second": {way: round(CALLS / statistics.median(times)) for way, times in clock.items()},
        "engine_of": {way: _ratio(clock[way], clock["engine"]) for way in ways},
        "processor_microseconds_a_call": {
            way: round(statistics.median(one[1] for one in times) / CALLS * 1e6) for way, times in spent.items()
        },
    }


def _ratio(bare: Sequence[float], engine: Sequence[float]) -> float:
    """The median over the rounds, each with its own neighbour in time."""
    return round(statistics.median(one / other for one, other in zip(bare, engine, strict=True)), 3)


def _request(name: str, text: str) -> ChatRequest:
    temperature = None if name == "anthropic" else 0.0
    messages = tuple(Message(role, WORDS) for role in TURNS[:-1])  # type: ignore[arg-type]
    return ChatRequest(MODELS[name], (*messages, Message("user", f"{text} {WORDS}")), 512, temperature)


def _ways(name: str, address: str) -> tuple[Provider, dict[str, Ask], Callable[[], Awaitable[None]]]:
    """The provider, the bare ways of asking the same, and what closes their connections."""
    if name == "anthropic":
        return AnthropicProvider(base_url=address, key_variable=""), *_anthropic_ways(address)
    if name == "openai":
        return OpenAIProvider(base_url=f"{address}/v1", key_variable=""), *_openai_ways(address)
    return OpenAICompatibleProvider(base_url=f"{address}/v1", key_variable=""), *_openai_ways(address)


def _openai_ways(address: str) -> tuple[dict[str, Ask], Callable[[], Awaitable[None]]]:
    client = AsyncOpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0)

    async def create(request: ChatRequest) -> None:
        reply = await client.chat.completions.create(**_openai_body(request))
        assert reply.choices[0].message.content

    async def raw(request: ChatRequest) -> None:
        assert (await client.post("/chat/completions", body=_openai_body(request), cast_to=httpx2.Response)).text

    return {"sdk": create, "raw": raw}, client.close


def _anthropic_ways(address: str) -> tuple[dict[str, Ask], Callable[[], Awaitable[None]]]:
    client = AsyncAnthropic(api_key="none", base_url=address, max_retries=0)

    async def create(request: ChatRequest) -> None:
        reply = await client.messages.create(**_anthropic_body(request))
        assert reply.content

    async def raw(request: ChatRequest) -> None:
        assert (await client.post("/v1/messages", body=_anthropic_body(request), cast_to=httpx2.Response)).text

    return {"sdk": create, "raw": raw}, client.close


def _openai_body(request: ChatRequest) -> dict[str, Any]:
    messages = [{"role": one.role, "content": one.content} for one in request.messages]
    return {"model": request.model, "messages": messages, "max_tokens": request.max_tokens, "temperature": 0.0}


def _anthropic_body(request: ChatRequest) -> dict[str, Any]:
    system, *rest = request.messages
    messages = [{"role": one.role, "content": one.content} for one in rest]
    return {"model": request.model, "system": system.content, "messages": messages, "max_tokens": request.max_tokens}


async def _seconds(ask: Ask, requests: Sequence[ChatRequest], workers: int) -> tuple[float, float]:
    """On the clock, and of this process's processor."""
    remaining = iter(requests)

    async def worker() -> None:
        for request in remaining:
            await ask(request)

    start, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(workers)))
    return time.perf_counter() - start, time.process_time() - before


if __name__ == "__main__":
    json.dump(run(), sys.stdout, indent=1)
