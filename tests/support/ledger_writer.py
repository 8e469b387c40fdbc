"""A process of its own that records calls in a ledger and prints the key of each one it was told is recorded.

    python ledger_writer.py ADDRESS WORD FIRST LAST BYTES

The replies say WORD and the number; the numbers go from FIRST to LAST, downwards where LAST is the smaller. It says
"ready" and waits for a line on standard input before it opens the ledger; a number there limits the size of files.
Its exit code is 7 where a LedgerError ended it.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from datetime import UTC, datetime

from autointerp.errors import LedgerError
from autointerp.protocols import ChatReply, ChatRequest, Message, request_key
from autointerp.providers.ledger import Ledger
from autointerp.types import Usage

TOGETHER = 8
COST_USD = 0.25


def request(number: int) -> ChatRequest:
    return ChatRequest("m", (Message("user", f"question {number}"),), 8)


def reply(word: str, number: int, size: int) -> ChatReply:
    return ChatReply(f"{word} {number} " + "x" * size, "stop", "m-served", Usage(3, 2, 1))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def record(ledger: Ledger, word: str, number: int, size: int) -> None:
    stands = await ledger.record(
        "p", request(number), reply(word, number, size), asked_at=datetime.now(UTC), seconds=0.1, cost_usd=COST_USD
    )
    assert isinstance(stands, ChatReply)
    say(f"{request_key('p', request(number))} {stands.text.split()[0]}")


async def main(address: str, word: str, first: int, last: int, size: int) -> None:
    numbers = range(first, last) if first < last else range(first, last, -1)
    async with Ledger(address) as ledger:
        for start in range(0, len(numbers), TOGETHER):
            await asyncio.gather(*(record(ledger, word, n, size) for n in numbers[start : start + TOGETHER]))


if __name__ == "__main__":
    say("ready")
    limit = sys.stdin.readline().strip()
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])))
    except LedgerError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(7)
