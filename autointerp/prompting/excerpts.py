"""Excerpts as templates see them: lines of a token, already inert, and its level."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Excerpt", "Line", "excerpt", "is_sparse", "strongest"]


@dataclass(frozen=True, slots=True)
class Line:
    """A token as it is shown, and its level or the placeholder for one."""

    token: str
    level: int | str


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A run of text in a prompt."""

    lines: tuple[Line, ...]


def excerpt(shown: Iterable[str], levels: Iterable[int | str]) -> Excerpt:
    """Tokens as shown and their levels, as many of one as of the other, as an excerpt. Raises ValueError where not.

    A token that holds a tab or a line end is refused: it was not made inert.
    """
    lines = tuple(Line(token, level) for token, level in zip(shown, levels, strict=True))
    if any(character in line.token for line in lines for character in "\t\n\r"):
        raise ValueError("a token that holds a tab or a line end cannot be shown on a line of its own")
    return Excerpt(lines)


def strongest(excerpts: Iterable[Excerpt], most: int) -> tuple[Line, ...]:
    """The lines with the highest levels above 0, at most `most`; of equal levels the earlier shown first."""
    lines = [line for one in excerpts for line in one.lines if isinstance(line.level, int) and line.level > 0]
    return tuple(sorted(lines, key=lambda line: -int(line.level))[:most])


def is_sparse(excerpts: Iterable[Excerpt], share: float = 0.2) -> bool:
    """Whether fewer than `share` of the levels shown are above 0 (LMEN repeats such excerpts without the zeros)."""
    levels = [line.level for one in excerpts for line in one.lines]
    return sum(level != 0 for level in levels) < share * len(levels)
