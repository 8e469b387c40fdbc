"""`autointerp ledger batches` and `forget`: what is at a vendor, and giving up what cannot be had any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autointerp.cli.opened_ledger import Address, with_ledger
from autointerp.cli.output import JsonFlag, print_result, table

if TYPE_CHECKING:
    from autointerp.providers import Ledger

__all__ = ["batches", "forget"]

_HEADER = ("token", "provider", "model", "vendor id", "state", "requests", "created", "submitted", "ended", "note")
_REQUESTS = _HEADER.index("requests")
_NOTE = 60  # characters of a vendor's words in the table; --json has them all


def batches(ledger: Address, json_out: JsonFlag = False) -> None:
    """Print the batches of a ledger, the oldest first. Times are in UTC.

    Open are those "intended" (not sent yet), "submitting" (being sent, or its id was lost) and "submitted"; a run that
    needs what is in them waits for it, or collects it.
    """

    def listed(opened: Ledger) -> dict[str, Any]:
        return {"ledger": opened.name, "batches": [asdict(row) for row in opened.batches.rows()]}

    print_result(with_ledger(ledger, listed), json_out, lambda found: f"{found['ledger']}\n{_table(found['batches'])}")


def forget(
    ledger: Address,
    batch: Annotated[
        str,
        typer.Argument(help="The first characters of its token, or of the vendor's id of it.", show_default=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Forget it; without it, only say what that would mean.")] = False,
    json_out: JsonFlag = False,
) -> None:
    """Give up a batch that can never be collected. Its requests are asked, and paid, again by the next run.

    Nothing is cancelled at the vendor's. A run that waits for the batch goes on waiting: interrupt it first.
    """
    from autointerp.providers import batch_named, forget_batch, forgettable

    def given_up(opened: Ledger) -> dict[str, Any]:
        row = batch_named(opened, batch)
        seen = forgettable(opened, row)
        if yes:
            forget_batch(opened, seen)
        return {"ledger": opened.name, "forgotten": yes, **asdict(row), "state": "forgotten" if yes else row.state}

    print_result(with_ledger(ledger, given_up), json_out, _consequence)


def _consequence(found: Mapping[str, Any]) -> str:
    called = f"batch {found['token']} ({found['vendor_id'] or 'no id'}) of {found['model']}"
    requests = f"those of its {found['requests']:,} requests that have no answer"
    if found["forgotten"]:
        return f"forgotten: {called}; {requests} are asked, and paid, again when a run needs them"
    return (
        f"would be forgotten (--yes does it): {called}, {found['state']}; {requests} would be asked, and paid, again "
        "when a run needs them"
    )


def _table(found: list[Mapping[str, Any]]) -> str:
    rows = [_HEADER, *map(_cells, found)]
    return table(rows, left=frozenset(range(len(_HEADER))) - {_REQUESTS}) if found else "no batches"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    from autointerp.providers import SHORT_TOKEN

    times = [_to_seconds(row[name]) for name in ("created_at", "submitted_at", "ended_at")]
    told = (row["token"][:SHORT_TOKEN], row["provider"], row["model"], row["vendor_id"] or "–", row["state"])
    return (*told, f"{row['requests']:,}", *times, (row["note"] or "")[:_NOTE])


def _to_seconds(time: str | None) -> str:
    """Times in a ledger are UTC in one form, with microseconds."""
    return "–" if time is None else time[:19].replace("T", " ")
