"""Recorded HTTP: what is kept of it, where it was recorded from, and how (see README.md beside this file)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from vcr.request import Request

ADDRESS = "http://127.0.0.1:8000"
"""The server's address in every cassette, wherever it was recorded from."""
KEPT_OF_REQUESTS = ("accept", "anthropic-version", "content-type")
KEPT_OF_RESPONSES = ("content-type", "retry-after", "retry-after-ms")
PLANTED = "sk-planted-in-the-replay-tests"
RECORDED_WITH = Path(__file__).with_name("recorded_with.json")


@dataclass(frozen=True)
class Recorded:
    """Where the tests ask, and which model."""

    address: str
    model: str


@pytest.fixture(params=["openai", "anthropic"])
def vendor(request: pytest.FixtureRequest) -> str:
    """Whose protocol."""
    return str(request.param)


@pytest.fixture
def recorded(vendor: str, record_mode: str, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """In a replay the neutral address and the model that was recorded; in a recording what the environment names."""
    models: dict[str, str] = json.loads(RECORDED_WITH.read_text()) if RECORDED_WITH.exists() else {}
    if record_mode == "none":
        monkeypatch.setenv(f"{vendor.upper()}_API_KEY", PLANTED)
        return Recorded(ADDRESS, models[vendor])
    if not os.environ.get(f"{vendor.upper()}_API_KEY"):
        monkeypatch.setenv(f"{vendor.upper()}_API_KEY", PLANTED)
    models[vendor] = os.environ["RECORD_MODEL"]
    RECORDED_WITH.write_text(json.dumps(models, indent=1, sort_keys=True) + "\n")
    return Recorded(os.environ["RECORD_FROM"], models[vendor])


@pytest.fixture(scope="module")
def vcr_config() -> Mapping[str, Any]:
    return {
        # Without the body, calls made at the same time would be given one another's answers.
        "match_on": ["method", "scheme", "host", "port", "path", "query", "body"],
        "before_record_request": _neutral,
        "before_record_response": _scrubbed,
        "decode_compressed_response": True,
    }


def _neutral(request: Request) -> Request:
    """A list of what may stay: keys, the SDK's words on this machine and a host's name are not on it."""
    request.uri = urlunsplit((*urlsplit(ADDRESS)[:2], *urlsplit(request.uri)[2:]))
    request.headers = {name: value for name, value in request.headers.items() if name.lower() in KEPT_OF_REQUESTS}
    return request


def _scrubbed(response: dict[str, Any]) -> dict[str, Any]:
    kept = {name.lower(): value for name, value in response["headers"].items()}
    return {**response, "headers": {name: kept[name] for name in KEPT_OF_RESPONSES if name in kept}}
