"""A plan for a terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["plan_text"]

_NUMBERS = (
    "calls",
    "in ledger",
    "to ask",
    "prompt tokens",
    "cached",
    "completion",
    "cost, USD",
    "in a batch",
    "at most",
)


def plan_text(plan: Mapping[str, Any]) -> str:
    """The document of `plan_document` in tables and sentences."""
    console = Console(file=io.StringIO(), width=160, color_system=None, force_terminal=False)
    groups = _table("What is asked, by protocol and units", ("protocol", "units"), per_unit=True)
    for one in plan["groups"]:
        part = "" if one["n_planned"] == one["n_units"] else f", {one['n_planned']} planned"
        groups.add_row(one["preset"], f"{one['n_units']:,} {one['units']}{part}", *_cells(one), _per_unit(one))
    groups.add_row("in all", "", *_cells(plan["total"]), "")
    console.print(groups)
    console.print()
    models = _table("By model", ("model", "provider"))
    for one in plan["models"]:
        models.add_row(one["model"], one["provider"], *_cells(one))
    console.print(models)
    console.print()
    for line in _sentences(plan):
        console.print(Text("* " + line))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def _table(title: str, words: tuple[str, ...], *, per_unit: bool = False) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in (*_NUMBERS, *(("cost of a unit",) if per_unit else ())):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(one: Mapping[str, Any]) -> list[str]:
    counts = ("calls", "known", "to_ask", "prompt_tokens", "cached_prompt_tokens", "completion_tokens")
    return [
        *(f"{one[name]:,}" for name in counts),
        *(_usd(one[name]) for name in ("cost_usd", "batch_usd", "most_usd")),
    ]


def _per_unit(one: Mapping[str, Any]) -> str:
    cost = one["per_unit"]["cost_usd"]
    return _usd(cost, 6)


def _usd(cost: float | None, places: int = 4) -> str:
    return "–" if cost is None else f"{cost:,.{places}f}"


def _sentences(plan: Mapping[str, Any]) -> list[str]:
    total = plan["total"]
    lines = [_cost(total)]
    cap = plan["max_cost_usd"]
    if cap is not None and total["cost_usd"] is not None and total["cost_usd"] > cap:
        lines.append(f"that is more than the cap of ${cap:g}: a run would stop there, and go on with a higher one")
    if total["missing"]:
        lines.append(f"{total['missing']:,} calls are not in the ledger and may not be asked (replay_only)")
    for one in plan["models"]:
        if one["price"] is not None and one["to_ask"]:
            rates = ", ".join(f"{name.replace('_', ' ')} {usd:g}" for name, usd in one["per_million"].items())
            lines.append(f"{one['model']}: USD per million tokens {rates} ({one['price']})")
    return [*lines, *(f"assumed: {line}" for line in plan["assumed"]), *plan["warnings"]]


def _cost(total: Mapping[str, Any]) -> str:
    if not total["to_ask"]:
        return "nothing is left to ask: the run costs nothing"
    if total["cost_usd"] is None:
        return "unpriced: no vendor sells a model that is to be asked; give it a price in the job file for a cost"
    interval = f"${total['ci_low']:,.4f} to ${total['ci_high']:,.4f}" if total["ci_low"] is not None else ""
    sure = f" (95% interval of the sample {interval})" if interval else ""
    batch = "" if total["batch_usd"] is None else f", ${total['batch_usd']:,.4f} at the price of batches"
    return f"the run costs about ${total['cost_usd']:,.4f}{sure}{batch}; ${total['most_usd']:,.4f} at the very most"
