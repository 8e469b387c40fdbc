"""What the commands on a ledger share: the argument that names it, and the ledger opened while they work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from autointerp.providers import Ledger

__all__ = ["Address", "with_ledger"]

T = TypeVar("T")

Address = Annotated[
    str,
    typer.Argument(
        metavar="LEDGER",
        help="A ledger's file, or postgresql://USER@HOST/DATABASE with the password in PGPASSWORD.",
        show_default=False,
    ),
]


def with_ledger(address: str, work: Callable[[Ledger], T], *, create: bool = False) -> T:
    """What `work` finds in the ledger; create: whether one that is not there is made."""
    from autointerp.providers import Ledger

    async def opened() -> T:
        async with Ledger(address, create=create) as ledger:
            return work(ledger)

    return asyncio.run(opened())
