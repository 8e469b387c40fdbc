"""The commands on a ledger, run in this process."""

from __future__ import annotations

import sys

import pytest
from ledger_command import Run

from autointerp.cli import main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("show", ...)` is (exit code, standard output, standard error) of `autointerp ledger show ...`."""

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autointerp", "ledger", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return command
