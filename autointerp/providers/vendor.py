"""What the vendors' SDKs have in common: one call through them, and their errors as this project's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from autointerp.errors import Authentication, ProviderError, Quota, RateLimited, Transient
from autointerp.providers.keys import Secret
from autointerp.providers.rate_limit_headers import retry_after_s
from autointerp.types import Usage

if TYPE_CHECKING:
    import httpx2

__all__ = ["ErrorTable", "failure_of", "kind_of", "one_line", "text_of"]

ErrorTable: TypeAlias = Mapping[type[Exception], type[ProviderError]]

_OVERLOADED = (408, 503, 529)  # as are 429, and a call that timed out: fewer calls at once would help
_SHOWN = 500
_ADVICE: Mapping[type[ProviderError], str] = {
    Authentication: "the key was refused (check it, and what it may be used for): ",
    Quota: "the account has no credit left or has reached its spending limit (add credit or raise the limit): ",
}


async def text_of(
    call: Awaitable[httpx2.Response],
    table: ErrorTable,
    translate: Callable[[Exception, Secret], ProviderError],
    secret: Secret,
    timeout_s: float,
) -> str:
    """The text of a successful response, with `secret` taken out should the server have repeated it.

    Raw text, since the SDKs' typed replies take anything for a reply. timeout_s: until the answer is whole, however
    slowly it comes. Raises what `translate` makes of an error of `table`, and Transient after the time; the SDK's error
    is not behind it, for that holds the request and the request holds the key.
    """
    try:
        async with asyncio.timeout(timeout_s):
            response = await call
    except TimeoutError:
        failure: ProviderError = Transient(f"no whole answer within {timeout_s:g} s", overloaded=True)
    except tuple(table) as error:
        failure = translate(error, secret)
        if _never_connected(error):
            failure.usage = Usage()
    else:
        return secret.removed_from(response.text)
    raise failure  # here, where no handler is active, so that Python does not chain it to the SDK's


def _never_connected(error: Exception) -> bool:
    """Whether the request was not sent, so that nobody can bill for it."""
    import httpx2

    return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


def one_line(error: Exception, secret: Secret) -> str:
    """An error's text without `secret`, on one line."""
    return " ".join(secret.removed_from(str(error)).split())


def kind_of(error: Exception, table: ErrorTable) -> type[ProviderError]:
    """What the table says of the nearest class of an error that it lists."""
    return next(table[cls] for cls in type(error).__mro__ if cls in table)


def failure_of(kind: type[ProviderError], said: str, response: httpx2.Response | None = None) -> ProviderError:
    """An error of this project's with what to do, the vendor's words cut to a readable length, and its wait."""
    message = _ADVICE.get(kind, "") + said[:_SHOWN]
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
