"""`autointerp ledger`: look into a ledger, carry it elsewhere, check it, delete from it, give up its batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autointerp.cli import ledger_batches
from autointerp.cli.opened_ledger import Address, with_ledger
from autointerp.cli.output import JsonFlag, inert, print_result, table
from autointerp.errors import BadInput, LedgerError

if TYPE_CHECKING:
    from autointerp.providers import Ledger, LedgerStatistics, ModelStatistics

app = typer.Typer(
    no_args_is_help=True, help="Look into a ledger of LLM calls and its batches, export, import, verify and prune it."
)

_COUNTS = ("answered", "failed", "repeated", "prompt_tokens", "cached_prompt_tokens", "completion_tokens")
_LISTED = 5  # keys named where a prefix fits several


@app.callback()
def _room() -> None:
    """Look into a ledger of LLM calls, carry it, check it, delete from it."""


@app.command(epilog="Example: autointerp ledger show ledger.sqlite --key 3fa9")
def show(
    ledger: Address,
    key: Annotated[
        str | None, typer.Option(help="The first characters of a request's key: print that request in full.")
    ] = None,
    json_out: JsonFlag = False,
) -> None:
    """Print what a ledger holds by model; or with --key one request and all that came of it."""
    if key is not None:
        calls = with_ledger(ledger, lambda opened: _calls(opened, key))
        print_result({"key": calls[0]["key"], "calls": calls}, json_out, _calls_text)
        return
    found = with_ledger(ledger, lambda opened: {"ledger": opened.name, **_document(opened.statistics())})
    print_result(found, json_out, lambda document: f"{document['ledger']}\n{_table(document)}")


@app.command(epilog="Example: autointerp ledger export ledger.sqlite ledger.jsonl.gz")
def export(
    ledger: Address,
    file: Annotated[Path, typer.Argument(help="The file to write; compressed if it ends in .gz.", show_default=False)],
    json_out: JsonFlag = False,
) -> None:
    """Write all calls as lines of JSON. Equal ledgers give equal bytes, whatever database holds them."""
    from autointerp.providers import export_jsonl

    count = with_ledger(ledger, lambda opened: export_jsonl(opened, file))
    print_result({"path": str(file), "calls": count}, json_out, lambda _: f"{count:,} calls written to {file}")


@app.command("import", epilog="Example: autointerp ledger import ledger.sqlite ledger.jsonl.gz")
def import_(
    ledger: Address,
    file: Annotated[Path, typer.Argument(help="An export of a ledger.", show_default=False)],
    json_out: JsonFlag = False,
) -> None:
    """Add the calls of an export, all or none. A ledger that is not there is made.

    What is known stays as it is; another answer to a request that has one is kept as repeated, for what it cost.
    """
    from autointerp.providers import import_jsonl

    new = with_ledger(ledger, lambda opened: import_jsonl(opened, file), create=True)
    print_result({"path": str(file), "new": new}, json_out, lambda _: f"{new:,} calls were new")


@app.command(epilog="Example: autointerp ledger verify ledger.sqlite")
def verify(ledger: Address, json_out: JsonFlag = False) -> None:
    """Read every call: is its JSON whole, is its key that of its request? Exit code 2 where anything is wrong."""

    def checked(opened: Ledger) -> dict[str, Any]:
        held = opened.statistics()
        return {"ledger": opened.name, "calls": held.calls, "problems": opened.verify()}

    found = with_ledger(ledger, checked)
    print_result(found, json_out, _problems_text)
    if found["problems"]:
        wrong = len(found["problems"])
        raise LedgerError(f"{found['ledger']}: {wrong} found wrong: import an export into a new ledger, or prune it")


@app.command(epilog="Example: autointerp ledger prune ledger.sqlite --failed --older-than 30 --yes")
def prune(
    ledger: Address,
    model: Annotated[str | None, typer.Option(help="Only calls of this model, as it was asked.")] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, max=36500, help="Only calls asked more than so many days ago.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only calls that failed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would be deleted.")] = False,
    json_out: JsonFlag = False,
) -> None:
    """Delete the calls that fit every option given. A deleted request is asked, and paid, again.

    The database keeps its size: new calls use the room.
    """
    from autointerp.providers import Selection

    if model is None and older_than is None and not failed:
        raise BadInput("which calls? Give one or more of --model, --older-than and --failed")
    before = None if older_than is None else datetime.now(UTC) - timedelta(days=older_than)
    chosen = Selection(model, before, failed)
    found = with_ledger(ledger, lambda opened: _document(opened.prune(chosen) if yes else opened.statistics(chosen)))
    heading = "deleted:" if yes else "would be deleted (--yes deletes):"
    print_result({"deleted": yes, **found}, json_out, lambda document: f"{heading}\n{_table(document)}")


app.command("batches", epilog="Example: autointerp ledger batches ledger.sqlite")(ledger_batches.batches)
app.command("forget", epilog="Example: autointerp ledger forget ledger.sqlite 3fa9c2d1 --yes")(ledger_batches.forget)


def _document(held: LedgerStatistics) -> dict[str, Any]:
    counts = {"answered": held.answered, "failed": held.failed, "repeated": held.repeated}
    return {**counts, "models": [_model(one) for one in held.models]}


def _model(one: ModelStatistics) -> dict[str, Any]:
    """As `ModelStatistics` says."""
    return {
        "provider": one.provider,
        "model": one.model,
        "answered": one.answered,
        "failed": one.failed,
        "repeated": one.repeated,
        "prompt_tokens": one.usage.prompt_tokens,
        "completion_tokens": one.usage.completion_tokens,
        "cached_prompt_tokens": one.usage.cached_prompt_tokens,
        "cost_usd": one.cost_usd,
        "unpriced": one.unpriced,
    }


def _table(document: Mapping[str, Any]) -> str:
    header = (
        "provider",
        "model",
        "answered",
        "failed",
        "repeated",
        "prompt tokens",
        "cached",
        "completion",
        "cost, USD",
        "unpriced",
    )
    rows: list[tuple[str, ...]] = [header]
    for one in document["models"]:
        counts = [one[name] for name in _COUNTS]
        cost = "–" if one["cost_usd"] is None else f"{one['cost_usd']:,.4f}"
        numbers = [*(f"{count:,}" for count in counts), cost, f"{one['unpriced']:,}"]
        rows.append((one["provider"], one["model"], *numbers))
    return table(rows, left=frozenset({0, 1})) if document["models"] else "no calls"


def _problems_text(found: Mapping[str, Any]) -> str:
    return "\n".join(
        [*map(inert, found["problems"]), f"{found['calls']:,} calls read, {len(found['problems'])} found wrong"]
    )


def _calls(ledger: Ledger, prefix: str) -> list[dict[str, Any]]:
    """Every call of the one request whose key begins so, documents parsed."""
    if not prefix or set(prefix) - set("0123456789abcdef"):
        raise BadInput(f"--key {prefix!r}: a key is hexadecimal, in lower case")
    keys = ledger.keys(prefix, _LISTED + 1)
    if not keys:
        raise BadInput(f"--key {prefix}: no request has a key that begins so")
    if len(keys) > 1:
        more = " and more" if len(keys) > _LISTED else ""
        raise BadInput(f"--key {prefix}: several keys begin so: {', '.join(key[:16] for key in keys[:_LISTED])}{more}")
    return [_call(row) for row in ledger.rows(keys[0])]


def _call(row: Mapping[Any, Any]) -> dict[str, Any]:
    call = {str(name): value for name, value in row.items() if name != "id"}
    try:
        for name in ("request", "reply"):
            call[name] = None if call[name] is None else json.loads(call[name])
    except ValueError as error:
        raise LedgerError(f"the call {call['key']} is damaged ({error}): import the ledger again") from error
    return call


def _calls_text(document: Mapping[str, Any]) -> str:
    first = document["calls"][0]
    request = dict(first["request"])
    messages = request.pop("messages")
    lines = [
        f"key       {document['key']}",
        f"provider  {inert(first['provider'])}",
        f"model     {inert(first['model'])}",
    ]
    lines += [f"settings  {_compact(request)}"]
    for message in messages:
        lines += [f"\n{inert(message['role'])}:", *_quoted(message["content"])]
    for call in document["calls"]:
        lines += _outcome(call)
    return "\n".join(lines)


def _outcome(call: Mapping[str, Any]) -> list[str]:
    heading = f"\n{call['status']}, asked at {inert(call['asked_at'])}, {call['seconds']:g} s:"
    if call["reply"] is None:
        return [heading, *_quoted(call["error"] or "")]
    reply = dict(call["reply"])
    text = reply.pop("text", None)
    return [heading, *([] if text is None else _quoted(text)), f"  {_compact(reply)}"]


def _quoted(text: str) -> list[str]:
    """Line by line behind a bar, so that nothing in a text can be taken for what this program says."""
    return [f"  | {inert(line)}" for line in text.split("\n")]


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(", ", ": "))
