"""`pytest tests/golden --update-golden` writes the golden files again: look at what has changed before committing."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "prompts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", default=False, help="write the golden files again")


class Golden:
    """Compares bytes with a file of its name."""

    def __init__(self, update: bool) -> None:
        self._update = update

    def check(self, name: str, text: str) -> None:
        path = FOLDER / f"{name}.txt"
        content = text.encode()
        if self._update:
            path.write_bytes(content)
        assert path.is_file(), f"{path} is missing: write it with pytest tests/golden --update-golden"
        assert content == path.read_bytes(), f"the prompt differs from {path}"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    # The option is unknown where the tests are started from above: then nothing is written.
    return Golden(bool(request.config.getoption("--update-golden", default=False)))
