"""Settings that hold for every test, the PostgreSQL server of those that need one, and where ledgers are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.ledgers import Files, Place, Schemas
from support.postgres import PostgresServer, postgres_binaries, running_postgres

# A busy machine is not a failure: no test is timed. The examples are the same in every run, so that red means a change.
settings.register_profile("house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests, started when the first one asks."""
    binaries = postgres_binaries()
    if binaries is None or shutil.which("setpriv") is None:
        pytest.skip("needs a PostgreSQL server: none is installed, and none could be")
    with running_postgres(binaries) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """The server, its password in the environment."""
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    return postgres_server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a test's ledgers are; each test runs once for each."""
    return Files(tmp_path) if request.param == "sqlite" else Schemas(request.getfixturevalue("postgres"))
