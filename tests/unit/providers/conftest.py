"""The ledgers that the tests of this room write to, in a file and on a PostgreSQL server, and the server they ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from loopback_server import Server, serving
from support.ledgers import Place

from autointerp.providers.ledger import Ledger


@pytest.fixture
async def ledger(place: Place) -> AsyncIterator[Ledger]:
    async with Ledger(place.new()) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
