"""Progress of the long commands in a file: few plain lines."""

from __future__ import annotations

import pytest

from sae.cli import harvest, metrics
from sae.cli.progress import Lines


def test_a_line_in_half_a_minute_and_one_at_the_end_of_each_stage() -> None:
    now, said = [100.0], []
    lines = Lines({"scan": "scanning", "records": "reading"}, "tokens", said.append, lambda: now[0])
    for second in range(91):
        now[0] = 100.0 + second
        lines("scan", 500 + 100 * second, 9500)  # 500 were done before an interruption
    now[0] += 1.0
    lines("records", 0, 10)
    lines("records", 10, 10)
    assert said == [
        "scanning: 3,500 of 9,500 tokens, 100 tokens/s, about 60 s left",
        "scanning: 6,500 of 9,500 tokens, 100 tokens/s, about 30 s left",
        "scanning: 9,500 of 9,500 tokens, 100 tokens/s",
        "reading: 10 of 10 tokens",
    ]


def test_a_file_gets_lines_without_returns_or_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    with harvest._progress() as told:
        for done in (0, 5, 10):
            told("scan", done, 10)
    with metrics._bar() as measured:
        for done in (1, 2):
            measured(done, 2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "scanning all units: 10 of 10 tokens",
        "measuring: 2 of 2 blocks",
    ]
    assert all(line.isprintable() for line in lines)
