"""What the cassettes must not hold: keys, and anything of the machine on which they were recorded."""

from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path

import pytest
import yaml
from replay.conftest import ADDRESS, KEPT_OF_REQUESTS, KEPT_OF_RESPONSES, PLANTED, RECORDED_WITH

HERE = Path(__file__).parent
CASSETTES = sorted((HERE / "cassettes").rglob("*.yaml"))
FORBIDDEN = re.compile(
    r"authorization|bearer |x-api-key|api[-_]key\b|cookie|x-stainless|user-agent|openai-organization|openai-project"
    r"|anthropic-organization|request-id|sk-[a-z0-9]{6}|localhost|/root\b|/home/|/tmp/",
    re.IGNORECASE,
)


def test_there_are_cassettes_of_both_protocols() -> None:
    texts = [path.read_text() for path in CASSETTES]
    assert any("/v1/chat/completions" in text for text in texts)
    assert any("/v1/messages" in text for text in texts)


@pytest.mark.parametrize("path", [*CASSETTES, RECORDED_WITH, HERE / "README.md"], ids=lambda path: path.name)
def test_no_secret_and_nothing_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = {socket.gethostname(), getpass.getuser(), str(Path.home()), os.uname().release, PLANTED}
    assert [name for name in names if len(name) > 4 and name in text] == []
    if path.suffix == ".yaml":
        assert FORBIDDEN.findall(text) == []


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.name)
def test_only_what_is_meant_to_be_kept(path: Path) -> None:
    for call in yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"]:
        assert call["request"]["uri"].startswith(f"{ADDRESS}/")
        assert {name.lower() for name in call["request"]["headers"]} <= set(KEPT_OF_REQUESTS)
        assert {name.lower() for name in call["response"]["headers"]} <= set(KEPT_OF_RESPONSES)
