"""What the vendors' SDKs have in common: one call through them, and their errors as this project's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from autointerp.errors import Authentication, BadReply, NotFound, ProviderError, Quota, RateLimited, Transient
from autointerp.providers.keys import Secret
from autointerp.providers.rate_limit_headers import retry_after_s
from autointerp.types import Usage

if TYPE_CHECKING:
    import httpx2

__all__ = ["Asked", "ErrorTable", "Vendor", "json_bytes", "text_of"]

ErrorTable: TypeAlias = Mapping[type[Exception], type[ProviderError]]

_OVERLOADED = (408, 503, 529)  # as are 429, and a call that timed out: fewer calls at once would help
_SHOWN = 500
_ADVICE: Mapping[type[ProviderError], str] = {
    Authentication: "the key was refused (check it, and what it may be used for): ",
    Quota: "the account has no credit left or has reached its spending limit (add credit or raise the limit): ",
}


@dataclass(frozen=True, slots=True)
class Vendor:
    """What is particular to one SDK.

    errors: every exception that it exports, and what it means here. timed_out: its class for an answer that did not
    come in time. refined: what an error with a status means by its body, which may say more than its class; None where
    it does not. It is given the error and its text.
    """

    errors: ErrorTable
    timed_out: type[Exception]
    refined: Callable[[Exception, str], type[ProviderError] | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: where it goes (see `shown_address`), the key that no message may hold, and until when to wait."""

    address: str
    secret: Secret
    timeout_s: float


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """A request's body as it is sent. The SDKs would copy it twice first, and fail on half of a surrogate pair."""
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


async def text_of(call: Awaitable[httpx2.Response], vendor: Vendor, asked: Asked) -> str:
    """The text of a successful response, with the key taken out should the server have repeated it.

    Raw text, since the SDKs' typed replies take anything for a reply. The time is until the answer is whole, however
    slowly it comes. Raises a ProviderError that names the address: what the vendor's table makes of the SDK's error,
    Transient after the time, BadReply for a web page. The SDK's error is not behind it, for that holds the request and
    the request holds the key.
    """
    try:
        async with asyncio.timeout(asked.timeout_s):
            response = await call
    except TimeoutError:
        failure: ProviderError = _late(asked)
    except tuple(vendor.errors) as error:
        failure = _translated(error, vendor, asked)
        if _never_connected(error):
            failure.usage = Usage()
    else:
        if "html" not in response.headers.get("content-type", ""):
            return asked.secret.removed_from(response.text)
        failure = BadReply(f"{asked.address}: the answer is a web page and no reply (check the address, base_url)")
    raise failure  # here, where no handler is active, so that Python does not chain it to the SDK's


def _late(asked: Asked) -> Transient:
    mend = "allow more with timeout_s, or ask for less at once with concurrency"
    return Transient(f"{asked.address}: no whole answer within {asked.timeout_s:g} s ({mend})", overloaded=True)


def _never_connected(error: Exception) -> bool:
    """Whether the request was not sent, so that nobody can bill for it."""
    import httpx2

    return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


def _translated(error: Exception, vendor: Vendor, asked: Asked) -> ProviderError:
    """This project's error for one of the SDK's, without the key in its text."""
    said = _one_line(error, asked.secret)
    if isinstance(error, vendor.timed_out):
        return _late(asked)
    kind = vendor.refined(error, said) or _kind(error, vendor.errors)
    return _failure(kind, said, asked, getattr(error, "response", None))


def _one_line(error: Exception, secret: Secret) -> str:
    """An error's text, and that of the transport's error behind it, without the key and on one line."""
    behind = f" ({error.__cause__})" if error.__cause__ is not None and str(error.__cause__) else ""
    return " ".join(secret.removed_from(f"{error}{behind}").split())


def _kind(error: Exception, table: ErrorTable) -> type[ProviderError]:
    """What the table says of the nearest class of an error that it lists."""
    return next(table[cls] for cls in type(error).__mro__ if cls in table)


def _failure(
    kind: type[ProviderError], said: str, asked: Asked, response: httpx2.Response | None = None
) -> ProviderError:
    """An error that says where, what to do, the vendor's words cut to a readable length, and the server's wait."""
    message = f"{asked.address}: {_advice(kind, response)}{said[:_SHOWN]}"
    if response is None:
        return kind(message)
    failure = _refusal(kind, message, response)
    failure.usage = Usage()  # vendors bill no call that they answer with the status of an error
    return failure


def _refusal(kind: type[ProviderError], message: str, response: httpx2.Response) -> ProviderError:
    if kind is RateLimited:
        return RateLimited(message, retry_after_s(response.headers))
    if kind is Transient:
        return Transient(message, retry_after_s(response.headers), overloaded=response.status_code in _OVERLOADED)
    return kind(message)


def _advice(kind: type[ProviderError], response: httpx2.Response | None) -> str:
    if kind is Transient and response is None:
        return "no answer (is the server running, and is base_url its address?): "
    if kind is NotFound:
        return "the server knows no such address or model (check base_url and the model's name): "
    return _ADVICE.get(kind, "")
