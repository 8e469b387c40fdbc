"""Giving up a batch that can never be collected: the vendor does not have it any more, or never took it.

Its requests wait for it in every run until somebody says that they may be asked, and paid, again. That is a person's
to say: this program cannot tell a batch that is gone from one of another account.
"""

from __future__ import annotations

import shlex

from autointerp.errors import BadInput
from autointerp.providers.batch import owners
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_batches import SUBMITTING, BatchRow, OpenBatch

__all__ = ["SHORT_TOKEN", "batch_named", "forget_batch", "forget_command", "forgettable"]

SHORT_TOKEN = 8
"""Characters of a token that tell batches apart for a person."""
_LISTED = 5  # batches named where a prefix fits several


def forget_command(ledger: Ledger, name: str) -> str:
    """What to type to give up a batch, by its vendor's id or its token."""
    return f"autointerp ledger forget {shlex.quote(ledger.name)} {shlex.quote(name)}"


def batch_named(ledger: Ledger, name: str) -> BatchRow:
    """The batch whose token or vendor's id begins so; an id that is given whole goes before longer ones.

    Raises BadInput where there is none, or are several.
    """
    rows = ledger.batches.rows()
    whole = [row for row in rows if name in (row.token, row.vendor_id)]
    found = whole or [row for row in rows if name and _names(row, name)]
    if not found:
        raise BadInput(f"{ledger.name}: no batch has a token or an id that begins with {name!r}: {_listing(ledger)}")
    if len(found) > 1:
        listed = ", ".join(f"{row.token[:SHORT_TOKEN]} ({row.vendor_id or 'no id'})" for row in found[:_LISTED])
        more = " and more" if len(found) > _LISTED else ""
        raise BadInput(f"{ledger.name}: several batches begin with {name!r}: {listed}{more}: give more characters")
    return found[0]


def forgettable(ledger: Ledger, row: BatchRow) -> OpenBatch:
    """The batch with its requests. Raises BadInput where it is not open, or a process is about to submit it."""
    batch = ledger.batches.get(row.token)
    if batch is None:
        raise BadInput(f"{_called(ledger, row)} is {row.state}, and nothing waits for it: there is nothing to forget")
    if batch.state == SUBMITTING and not owners.is_over(batch.owner, batch.claimed_at):
        host, process, _ = (*batch.owner.rsplit(" ", 2), "?", "?")[:3]
        raise BadInput(
            f"{_called(ledger, row)} is being submitted by process {process} on {host}: end that first, or wait for it"
        )
    return batch


def forget_batch(ledger: Ledger, batch: OpenBatch) -> None:
    """Gives it up. Raises BadInput where something happened to it meanwhile."""
    if not ledger.batches.forget(batch):
        raise BadInput(f"{ledger.name}: batch {batch.token[:SHORT_TOKEN]} has just changed: {_listing(ledger)}")


def _names(row: BatchRow, prefix: str) -> bool:
    return row.token.startswith(prefix) or (row.vendor_id or "").startswith(prefix)


def _called(ledger: Ledger, row: BatchRow) -> str:
    return f"{ledger.name}: batch {row.token[:SHORT_TOKEN]} ({row.vendor_id or 'no id'})"


def _listing(ledger: Ledger) -> str:
    return f"autointerp ledger batches {shlex.quote(ledger.name)} lists them"
