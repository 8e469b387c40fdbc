"""Progress in a file: few plain lines that say phase, count, rate, time left and what was asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import pytest

from autointerp.jobs.progress import Lines, phases


@dataclass
class Watched:
    """Lines with the time at which each was written, by a clock that a test sets."""

    now: float = 100.0
    said: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = Lines(write=lambda line: self.said.append((self.now, line)), clock=lambda: self.now)


def test_a_line_in_half_a_minute_and_one_at_the_end() -> None:
    watched = Watched()
    advance = watched.lines.start("openai: features, explaining", 100)
    for unit in range(1, 101):  # one in two seconds
        watched.now += 2.0
        advance(f"0 replayed, {unit} asked")
    assert watched.said == [
        (130.0, "openai: features, explaining: 15 of 100, 30.0/min, about 2 min 50 s left, 0 replayed, 15 asked"),
        (160.0, "openai: features, explaining: 30 of 100, 30.0/min, about 2 min 20 s left, 0 replayed, 30 asked"),
        (190.0, "openai: features, explaining: 45 of 100, 30.0/min, about 1 min 50 s left, 0 replayed, 45 asked"),
        (220.0, "openai: features, explaining: 60 of 100, 30.0/min, about 1 min 20 s left, 0 replayed, 60 asked"),
        (250.0, "openai: features, explaining: 75 of 100, 30.0/min, about 50 s left, 0 replayed, 75 asked"),
        (280.0, "openai: features, explaining: 90 of 100, 30.0/min, about 20 s left, 0 replayed, 90 asked"),
        (300.0, "openai: features, explaining: 100 of 100 in 3 min 20 s, 30.0/min, 0 replayed, 100 asked"),
    ]


def test_what_a_ledger_answered_at_once_does_not_promise_a_quick_end() -> None:
    watched = Watched()
    advance = watched.lines.start("phase", 1000)
    for _ in range(900):
        advance("900 replayed")
    watched.now += 30.0
    advance("900 replayed, 1 asked")
    watched.now += 30.0
    advance("900 replayed, 2 asked")
    assert watched.said[-1] == (160.0, "phase: 902 of 1000, 2.0/min, about 49 min 0 s left, 900 replayed, 2 asked")


def test_nothing_advances_and_a_line_says_why() -> None:
    watched = Watched()
    watched.lines.start("explaining", 9, lambda: "paused by a rate limit until 12:00:00")("1 asked")
    for _ in range(6):
        watched.now += 20.0
        watched.lines.remind()
    assert [time for time, _ in watched.said] == [140.0, 180.0, 220.0]
    assert watched.said[-1][1] == "explaining: 1 of 9, 0.0/s, paused by a rate limit until 12:00:00, 1 asked"


def test_each_phase_ends_with_a_line_however_short_it_was() -> None:
    watched = Watched()
    for name in ("baselines", "explaining"):
        advance = watched.lines.start(name, 2)
        advance("")
        advance("")
    watched.lines.start("nobody to simulate", 0)
    watched.lines.close()
    assert [line for _, line in watched.said] == ["baselines: 2 of 2 in 0 s", "explaining: 2 of 2 in 0 s"]


def test_a_phase_that_is_left_says_how_far_it_came() -> None:
    watched = Watched()
    watched.lines.start("not begun", 4)
    watched.lines.start("explaining", 4)("1 asked")
    watched.lines.close()
    assert [line for _, line in watched.said] == ["explaining: 1 of 4, 1 asked"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(59.4, "59 s"), (59.6, "1 min 0 s"), (3600, "1 h 0 min"), (7499, "2 h 4")]
)
def test_spans(seconds: float, said: str) -> None:
    watched = Watched()
    advance = watched.lines.start("phase", 1)
    watched.now += seconds
    advance("")
    assert f"1 of 1 in {said}" in watched.said[0][1]


def test_a_file_gets_lines_without_returns_or_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    with phases() as start:
        advance = start("explaining", 2)
        advance("0 replayed, 1 asked")
        advance("0 replayed, 2 asked")
    said = capsys.readouterr().err
    assert not sys.stderr.isatty()
    assert said.startswith("explaining: 2 of 2 in ")
    assert said.endswith(", 0 replayed, 2 asked\n")
    assert said.count("\n") == 1
    assert said.rstrip("\n").isprintable()
