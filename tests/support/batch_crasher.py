"""A process of its own that asks in batches and kills itself (SIGKILL) at a given step of the way.

    python batch_crasher.py VENDOR URL FOLDER FIRST LAST

For each number from FIRST to LAST - 1 a child asks the questions of that number, with a ledger of its own in FOLDER,
and dies at that step: steps are counted after everything that is written to the ledger or asked of the vendor, which is
also before the next.
A child that comes to the end of its work before the step prints the number. Children are forked, which saves the start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from autointerp.protocols import ChatRequest, Message
from autointerp.providers import AnthropicProvider, BatchSettings, OpenAIProvider, RetryPolicy
from autointerp.providers.ledger import Ledger
from autointerp.providers.model import LedgeredModel

QUESTIONS = 2
SERVICE = ("upload", "create", "candidates", "holds", "progress", "results")
TABLE = ("open", "register", "get", "claim", "submitted", "finish", "vendor_ids")


def questions(number: int) -> list[ChatRequest]:
    return [ChatRequest("m", (Message("user", f"{number}: {one}"),), 8, None) for one in range(QUESTIONS)]


def provider_of(name: str, url: str) -> OpenAIProvider | AnthropicProvider:
    if name == "openai":
        return OpenAIProvider(base_url=f"{url}/v1", key_variable="")
    return AnthropicProvider(base_url=url, key_variable="")


async def quick(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.02))


async def texts(
    provider: OpenAIProvider | AnthropicProvider, ledger: Ledger, number: int, step: Callable[[], None] = lambda: None
) -> list[str]:
    """The answers to the questions of that number; `step` is called after each step."""
    settings = BatchSettings(quiet_s=0.02)
    model = LedgeredModel(provider, "m", ledger, batch=settings, retries=RetryPolicy(attempts=2), sleep=quick)
    queue: Any = model._queue
    for method in SERVICE:
        setattr(queue._service, method, stepping(getattr(queue._service, method), step))
    for method in TABLE:
        setattr(queue._table, method, stepping_in_thread(getattr(queue._table, method), step))
    queue._record = stepping(queue._record, step)
    try:
        found = await asyncio.gather(*(model.chat(request) for request in questions(number)))
    finally:
        await model.finish()
    return [reply.text for _, reply in found]


def stepping(work: Callable[..., Awaitable[Any]], step: Callable[[], None]) -> Callable[..., Awaitable[Any]]:
    async def stepped(*arguments: Any, **options: Any) -> Any:
        result = await work(*arguments, **options)
        step()
        return result

    return stepped


def stepping_in_thread(work: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def stepped(*arguments: Any, **options: Any) -> Any:
        result = work(*arguments, **options)
        step()
        return result

    return stepped


async def until_killed(name: str, url: str, folder: Path, number: int) -> None:
    steps = count()

    def step() -> None:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    async with Ledger(folder / f"{number}.sqlite") as ledger:
        await texts(provider_of(name, url), ledger, number, step)


def main(name: str, url: str, folder: Path, first: int, last: int) -> None:
    import_module(name)  # once, and not in every child
    for number in range(first, last):
        child = os.fork()
        if not child:
            asyncio.run(until_killed(name, url, folder, number))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:6]))
