"""Who is about to submit a batch, and whether he may still do so.

A process that was killed leaves its batch half submitted; one that lives, on this machine or another, must be left
alone. Of this machine's the operating system knows; of others, and where a number was given to another process since,
a claim that is older than any submission takes is no claim any more.
"""

from __future__ import annotations

import os
import secrets
import socket
from datetime import UTC, datetime, timedelta

__all__ = ["LEASE", "is_over", "joined", "left"]

LEASE = timedelta(hours=2)
_here: set[str] = set()  # the owners of this process


def joined() -> str:
    """A new owner, of this process."""
    owner = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
    _here.add(owner)
    return owner


def left(owner: str) -> None:
    """It submits nothing any more."""
    _here.discard(owner)


def is_over(owner: str, claimed_at: datetime) -> bool:
    """Whether another may submit what this owner claimed."""
    host, number, _ = (*owner.rsplit(" ", 2), "", "")[:3]
    if datetime.now(UTC) - claimed_at > LEASE:
        return True
    if host != socket.gethostname() or not number.isdigit():
        return False
    if int(number) == os.getpid():
        return owner not in _here
    return not _runs(int(number))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
