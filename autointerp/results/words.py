"""A run's findings in words: for the terminal and for the head of the report. Nothing is rounded into a success."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autointerp.results.costs import cost_words, plan_words

__all__ = ["interval_name", "show_text", "verdicts"]


def verdicts(summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """Scorer -> its sentences: who is ahead, by how much, how sure that is, and the same for each control.

    The scorers by which the run's protocols rank come first; one that gave no number is left out.
    """
    found = {scorer: _of_one(scorer, summary) for scorer in _by_weight(summary)}
    return {scorer: lines for scorer, lines in found.items() if lines}


def _by_weight(summary: Mapping[str, Any]) -> list[str]:
    ranking = [places[0]["scorer"] for places in summary["rankings"].values() if places]
    return list(dict.fromkeys([*ranking, *sorted(summary["comparison"])]))


def _of_one(scorer: str, summary: Mapping[str, Any]) -> list[str]:
    lines = []
    compared = summary["comparison"].get(scorer)
    if compared is not None and compared["difference"] is not None:
        lines.append(_compared(scorer, compared, summary))
    for kind, scorers in summary["controls"].get("control_other_explanation", {}).items():
        if scorer in scorers and scorers[scorer]["gap"]["mean"] is not None:
            lines.append(_gap(kind, scorers[scorer], summary))
    for kind, scorers in summary["controls"].get("control_shuffled_weights", {}).items():
        own = summary["summary"].get(kind, {}).get(scorer)
        if scorer in scorers and scorers[scorer]["mean"] is not None and own is not None and own["mean"] is not None:
            lines.append(_shuffled(kind, scorers[scorer], own))
    varied = summary.get("without_single_token", {})
    if scorer in varied.get("left_out", {}):
        lines += _without_single_token(scorer, {"level": summary["level"], **varied})
    return lines


def _without_single_token(scorer: str, varied: Mapping[str, Any]) -> list[str]:
    """What remains of the comparison, and of the control by shuffled weights, without what a token's name explains."""
    counted = [f"{n} {kind}{'s' if n != 1 else ''}" for kind, n in varied["left_out"][scorer].items()]
    begin = f"Without units whose maximum is on one token in all top contexts ({' and '.join(counted) or 'controls'})"
    lines = []
    for line in _of_one(scorer, {**varied, "controls": _shuffled_alone(varied["controls"])}):
        lines.append(f"{begin}: {line[0].lower()}{line[1:]}")
        begin = "Without these units"
    return lines


def _shuffled_alone(controls: Mapping[str, Any]) -> dict[str, Any]:
    return {role: kinds for role, kinds in controls.items() if role == "control_shuffled_weights"}


def _bounds(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def interval_name(summary: Mapping[str, Any]) -> str:
    """What the run's intervals are called, such as "95% interval"."""
    return f"{100 * summary['level']:g}% interval"


def _compared(scorer: str, one: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """A difference needs the interval and the rank test: of a few units a bootstrap alone would be too sure."""
    features, neurons = (summary["summary"][kind][scorer] for kind in ("feature", "neuron"))
    apart = one["p_value"] < 1 - summary["level"]
    verdict = "Features and neurons cannot be told apart"
    if apart and one["ci_low"] > 0:
        verdict = "Features score higher than neurons"
    if apart and one["ci_high"] < 0:
        verdict = "Features score LOWER than neurons"
    return (
        f"{verdict}: mean {features['mean']:.3f} ({features['n_scored']} scored of "
        f"{features['n_attempted']}) against {neurons['mean']:.3f} ({neurons['n_scored']} of "
        f"{neurons['n_attempted']}); difference {one['difference']:.3f}, {interval_name(summary)} "
        f"{_bounds(one['ci_low'], one['ci_high'])}, Mann–Whitney p = {one['p_value']:.2g}, "
        f"Cliff's delta {one['effect_size']:.2f}."
    )


def _gap(kind: str, one: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    gap = one["gap"]
    apart = gap["p_value"] < 1 - summary["level"]
    verdict = "cannot be told apart from"
    if apart and gap["ci_low"] > 0:
        verdict = "beats"
    if apart and gap["ci_high"] < 0:
        verdict = "is WORSE than"
    return (
        f"{kind.capitalize()}s: the unit's own explanation {verdict} the explanation of another {kind}, by "
        f"{gap['mean']:.3f} ({interval_name(summary)} {_bounds(gap['ci_low'], gap['ci_high'])}, "
        f"{gap['n_pairs']} pairs)."
    )


def _shuffled(kind: str, control: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    return (
        f"{kind.capitalize()}s of the weight-shuffled subject: mean {control['mean']:.3f} "
        f"({_bounds(control['ci_low'], control['ci_high'])}; {control['n_scored']} scored of "
        f"{control['n_attempted']}), against {own['mean']:.3f} ({_bounds(own['ci_low'], own['ci_high'])}) for "
        "the subject itself."
    )


def show_text(summary: Mapping[str, Any], rows: int) -> str:
    """The run for a terminal: scores, verdicts, and the first places of the ranking."""
    console = Console(file=io.StringIO(), width=132, color_system=None, force_terminal=False)
    table = Table(title="Scores (mean over units)", title_justify="left", box=None, pad_edge=False)
    for name in ("scorer", "units", "mean", interval_name(summary), "median", "scored", "unscored, and why"):
        words = name in ("scorer", "units", "unscored, and why")
        table.add_column(name, justify="left" if words else "right", no_wrap=name != "unscored, and why")
    for label, scorers in _groups(summary):
        for scorer, one in scorers.items():
            table.add_row(Text(scorer), label, *_cells(one))
    console.print(table)
    console.print()
    for scorer, lines in verdicts(summary).items():
        console.print(Text(scorer))
        for line in lines:
            console.print(Text("* " + line))
    console.print()
    console.print(_ranking(summary["ranking"], rows, interval_name(summary)))
    for name, said in (("cost", cost_words(summary)), ("plan", plan_words(summary))):
        if said is not None:
            console.print(Text(f"\n{name}: {said}"))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip(" ") for line in console.file.getvalue().rstrip("\n").split("\n")) + "\n"


def _groups(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    groups = [(f"{kind}s", scorers) for kind, scorers in summary["summary"].items()]
    for role, kinds in summary["controls"].items():
        name = role.removeprefix("control_").replace("_", " ")
        groups += [(f"{kind}s, {name}", scorers) for kind, scorers in kinds.items()]
    return groups


def _cells(one: Mapping[str, Any]) -> list[str]:
    if one["mean"] is None:
        numbers = ["–", "–", "–"]
    else:
        numbers = [f"{one['mean']:.3f}", _bounds(one["ci_low"], one["ci_high"]), f"{one['median']:.3f}"]
    reasons = "; ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in one["unscored"].items()) or "none"
    return [*numbers, f"{one['n_scored']} of {one['n_attempted']}", reasons]


def _ranking(places: list[Mapping[str, Any]], rows: int, interval: str) -> Table:
    scorer = places[0]["scorer"] if places else ""
    title = Text(f"Ranking by the lower end of the interval ({scorer})" if places else "No unit could be ranked")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("rank", "unit", "score", interval, "control gap", "coverage", "explanation"):
        table.add_column(
            name, justify="left" if name in ("unit", "explanation") else "right", no_wrap=name != "explanation"
        )
    for one in places[:rows]:
        gap = "–" if one["control_gap"] is None else f"{one['control_gap']:.2f}"
        index = one["unit"].rsplit("/", 1)[-1]
        table.add_row(
            str(one["rank"]),
            f"{one['kind']} {index}",
            f"{one['score']:.3f}",
            _bounds(one["ci_low"], one["ci_high"]),
            gap,
            f"{one['coverage']:.0%}",
            Text(one["explanation"] or "–"),
        )
    return table
