"""A provider's settings as a job file gives them: checked, and those that change what is sent made part of its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import ConfigDict, ValidationError, create_model

from autointerp.errors import BadInput, BadJob

__all__ = ["checked_address", "checked_settings", "named", "shown_address"]


def checked_settings(provider: str, settings: Mapping[str, Any], target: Callable[..., Any]) -> dict[str, Any]:
    """The settings, each of the type that the keyword-only parameter of its name in `target` has.

    Raises BadJob naming the first setting that is unknown or of another type.
    """
    parameters = inspect.signature(target, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        one.name: (one.annotation, ... if one.default is one.empty else one.default)
        for one in parameters
        if one.kind is inspect.Parameter.KEYWORD_ONLY
    }
    model = create_model("Settings", __config__=ConfigDict(extra="forbid", strict=True), **fields)
    try:
        checked: dict[str, Any] = model(**settings).model_dump(exclude_unset=True)
        return checked
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(fields))
            raise BadJob(f"unknown setting {name!r} of the provider {provider}: known are {known}") from error
        raise BadJob(f"setting {name!r} of the provider {provider}: {first['msg']}") from error


def checked_address(base_url: str) -> str:
    """The address of a server. Raises BadInput for what is none, and for one with a user, a password or a query.

    Those are not repeated: the address is part of what a run leaves on the disk, and keys come from the environment.
    """
    try:
        parts = urlsplit(base_url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, a port that is no number
        whole = False
    if not whole:
        raise BadInput(
            f"{base_url.rpartition('@')[2]!r} is not the address of a server: it begins with http:// or https://, and "
            "a host and perhaps a port follow"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise BadInput(
            f"the address {shown_address(base_url)} was given with a user, a password or a query: leave that out, and "
            "name the environment variable that holds the key (key_variable)"
        )
    return base_url


def shown_address(base_url: str, path: str = "") -> str:
    """scheme://host:port/path, without what could be secret in an address: a user's name, a password, a query."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}{path}"


def named(name: str, sent: Mapping[str, object]) -> str:
    """A provider's name with the settings that it adds to every request: "openai[reasoning_effort=low]".

    The name is part of the ledger's keys and of the provenance, so that replies under other settings are other replies.
    Settings that are None or "" were not given, and not sent.
    """
    given = ",".join(f"{key}={value}" for key, value in sorted(sent.items()) if value not in (None, ""))
    return f"{name}[{given}]" if given else name
