"""What a run's LLM calls cost, in words, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["cost_words", "plan_words"]


def cost_words(manifest: Mapping[str, Any]) -> str | None:
    """What this run paid; None where it asked nothing that can have cost anything, or was made before costs were kept.

    A call whose price nobody knows is unpriced, never free.
    """
    calls = manifest["calls"]
    if not calls.get("attempts") or "cost_usd" not in calls:
        return None
    cost, unpriced, uncertain = calls["cost_usd"], calls["unpriced"], calls["uncertain_usd"]
    words = "unpriced" if cost is None else f"${cost:,.4f}"
    if cost is not None and unpriced:
        words += f", and {unpriced:,} unpriced calls"
    if uncertain:
        words += f", and up to ${uncertain:,.4f} for calls of which nobody said what they used"
    return words


def plan_words(manifest: Mapping[str, Any]) -> str | None:
    """How far the plan was off; None where there was none."""
    plan = manifest.get("plan")
    if plan is None:
        return None
    named = {
        "calls": "calls",
        "prompt_tokens": "tokens read",
        "completion_tokens": "tokens written",
        "cost_usd": "cost",
    }
    off = [f"{words} {plan['error'][name]:+.1%}" for name, words in named.items() if plan["error"][name] is not None]
    return f"against what was planned, {', '.join(off)}" if off else None
