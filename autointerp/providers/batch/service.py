"""What the queue needs of a vendor's batch API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from autointerp.errors import ProviderError
from autointerp.protocols import Reply, Request

__all__ = ["BatchService", "HasBatches", "Progress", "Results", "read_lines"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How a batch stands. places: where its results are to be read, once it has ended; promised: how many there are.

    failure: the vendor refused the whole batch after it had been submitted; nothing of it was run.
    """

    ended: bool
    places: tuple[str, ...] = ()
    promised: int = 0
    failure: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """What a batch brought, by custom_id. whole: nothing is missing that reading once more could bring."""

    found: Mapping[str, Mapping[str, Any]]
    whole: bool


class BatchService(Protocol):
    """A vendor's batch API. Everything that asks the vendor raises ProviderErrors, as a live call does.

    most_requests, most_bytes: of one batch. All requests of a batch are to one model.
    """

    most_requests: int
    most_bytes: int

    def entry(self, key: str, request: Request) -> str:
        """One request as JSON on one line, all ASCII. Raises Unsupported where a live call would."""
        ...

    async def upload(self, token: str, entries: Sequence[str]) -> str:
        """Brings the entries to where `create` finds them. Doing it again costs nothing."""
        ...

    async def create(self, token: str, uploaded: str) -> str:
        """The vendor's id of the batch, which is paid from here on. token: our own name for it."""
        ...

    async def candidates(self, token: str, size: int, since: datetime) -> Sequence[str]:
        """Ids of batches created after `since` that may be the one of this token, whose id was lost."""
        ...

    async def holds(self, batch_id: str, keys: Iterable[str]) -> bool | None:
        """Whether a candidate is the batch of these keys; None: that is not known before it has ended."""
        ...

    async def progress(self, batch_id: str) -> Progress: ...

    async def results(self, batch_id: str, progress: Progress) -> Results: ...

    async def reply(self, result: Mapping[str, Any], request: Request) -> Reply:
        """The reply in one result. Raises what a live call that was answered so would raise."""
        ...


@runtime_checkable
class HasBatches(Protocol):
    """A provider whose vendor takes requests in batches, too."""

    def batches(self) -> BatchService: ...


def read_lines(text: str) -> tuple[dict[str, Mapping[str, Any]], bool]:
    """Results by custom_id, the first of each; and whether every line could be read: a download may have been cut.

    Lines end at line feeds alone: the texts in them may hold other characters that Unicode calls line ends.
    """
    found: dict[str, Mapping[str, Any]] = {}
    whole = True
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
            found.setdefault(str(result["custom_id"]), result)
        except (ValueError, TypeError, KeyError, RecursionError):
            whole = False
    return found, whole
