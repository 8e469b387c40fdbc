"""What is wrong with a job's models as far as that can be seen without asking them, before minutes are spent."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from autointerp.errors import BadInput
from autointerp.jobs.job import Job, ModelSection
from autointerp.jobs.models import price_for, provider_of, sections_of
from autointerp.providers import Checkable
from autointerp.providers.settings import shown_address

__all__ = ["check_models", "check_text"]

_CONNECT_S = 10.0


def check_models(job: Job, base: Path) -> dict[str, Any]:
    """What the job's models are, {"models": [{"provider", "model", "price"}]}; those that are only replayed left out.

    base: the folder that paths of the job are relative to; of them only the models' own are looked at. Nothing is
    asked, and nothing is written. Raises BadJob for unknown settings and prices, Authentication for a key that is not
    there, and BadInput for a model's file that cannot be used and a server that takes no connections.
    """
    if not job.asks:
        return {"models": []}
    return {"models": [_checked(job, section, base) for section in sections_of(job) if not section.replay_only]}


def check_text(found: dict[str, Any]) -> str:
    """The same for a person: a line for each model."""
    lines = [
        f"{one['provider']} {one['model']}: nothing is missing ({one['price'] or 'unpriced'})"
        for one in found["models"]
    ]
    return "\n".join(lines or ["no model would be asked"])


def _checked(job: Job, section: ModelSection, base: Path) -> dict[str, Any]:
    provider = provider_of(section, base)
    price = price_for(section, provider, capped=job.budget.max_cost_usd is not None)
    if isinstance(provider, Checkable):
        provider.check(section.name)
    if (base_url := section.settings.get("base_url")) is not None:
        _check_server(base_url)
    return {"provider": provider.name, "model": section.name, "price": price.source if price else None}


def _check_server(base_url: str) -> None:
    """Raises BadInput where nobody takes connections at the address.

    A job would ask for minutes before it said so: to it a server that is away may come back. Behind a proxy nothing can
    be seen from here, and nothing is said.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return
    try:
        socket.create_connection((host, parts.port or {"http": 80, "https": 443}[parts.scheme]), _CONNECT_S).close()
    except OSError as error:
        raise BadInput(
            f"{shown_address(base_url)}: no connection ({error.strerror or error}): is the server running, and is this "
            "its address?"
        ) from error
