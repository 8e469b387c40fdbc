"""A provider's settings as a job file gives them: checked, and those that change what is sent made part of its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from autointerp.errors import BadInput, BadJob

__all__ = ["checked_address", "checked_settings", "named"]


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
    """The address of a server. Raises BadInput for what is none."""
    if not base_url.startswith(("http://", "https://")):
        raise BadInput(f"{base_url!r} is not the address of a server: it begins with http:// or https://")
    return base_url


def named(name: str, sent: Mapping[str, object]) -> str:
    """A provider's name with the settings that it adds to every request: "openai[reasoning_effort=low]".

    The name is part of the ledger's keys and of the provenance, so that replies under other settings are other replies.
    Settings that are None or "" were not given, and not sent.
    """
    given = ",".join(f"{key}={value}" for key, value in sorted(sent.items()) if value not in (None, ""))
    return f"{name}[{given}]" if given else name
