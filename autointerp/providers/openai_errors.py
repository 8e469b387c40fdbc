"""The one place where the SDK's errors become this project's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from autointerp.errors import (
    Authentication,
    BadReply,
    ContextOverflow,
    ProviderError,
    ProviderRefused,
    Quota,
    RateLimited,
    Transient,
)
from autointerp.providers.rate_limit_headers import retry_after_s

__all__ = ["ERRORS", "STATUSES", "retry_after_s", "translated", "without"]

# Every exception the SDK exports. Those with a status are refined by `STATUSES` and by what the body says.
ERRORS: dict[type[Exception], type[ProviderError]] = {
    openai.OpenAIError: ProviderError,
    openai.APIError: ProviderError,
    openai.APIStatusError: ProviderError,
    openai.APIConnectionError: Transient,
    openai.APITimeoutError: Transient,
    openai.APIResponseValidationError: BadReply,
    openai.AuthenticationError: Authentication,
    openai.OAuthError: Authentication,
    openai.PermissionDeniedError: Authentication,
    openai.BadRequestError: ProviderRefused,
    openai.NotFoundError: ProviderRefused,
    openai.UnprocessableEntityError: ProviderRefused,
    openai.ConflictError: Transient,
    openai.RateLimitError: RateLimited,
    openai.InternalServerError: Transient,
    openai.LengthFinishReasonError: BadReply,
    openai.ContentFilterFinishReasonError: BadReply,
    # Of parts of the SDK that are not used here; the test that this table is complete wants their word as well.
    openai.InvalidWebhookSignatureError: ProviderError,
    openai.WebSocketConnectionClosedError: Transient,
    openai.WebSocketQueueFullError: Transient,
}

# Statuses for which the SDK has no class of its own.
STATUSES: dict[int, type[ProviderError]] = {402: Quota, 408: Transient, 413: ContextOverflow}

_OVERLOADED = (408, 503, 529)  # as are 429, and a call that timed out: fewer calls at once would help

_QUOTA_CODES = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits")
# By server: OpenAI; vLLM and OpenRouter; llama.cpp; Anthropic behind a gateway.
_OVERFLOW_SIGNS = (
    "context_length_exceeded",
    "maximum context length",
    "exceed_context_size",
    "exceeds the available context size",
    "prompt is too long",
)
_FILTER_CODES = ("content_filter", "content_policy_violation")


@contextmanager
def translated(secret: str) -> Iterator[None]:
    """Raises this project's error for the SDK's, without `secret` in its text and without the original behind it."""
    try:
        yield
    except tuple(ERRORS) as error:
        raise _translate(error, secret) from None


def without(secret: str, text: str) -> str:
    """The text with `secret`, if there is one, taken out."""
    return text.replace(secret, "[key]") if secret else text


def _translate(error: Exception, secret: str) -> ProviderError:
    message = " ".join(without(secret, str(error)).split())[:500]
    if isinstance(error, openai.APITimeoutError):
        return Transient(message, overloaded=True)
    if not isinstance(error, openai.APIStatusError):
        return _class_of(error)(message)
    said = f"{error.code} {error.type} {message}"
    if any(code in said for code in _QUOTA_CODES):
        return Quota(f"the account has no credit left: {message}")
    if error.status_code in (400, 413, 422, 500) and any(sign in said for sign in _OVERFLOW_SIGNS):
        return ContextOverflow(message)
    if error.status_code == 400 and any(code in said for code in _FILTER_CODES):
        return ProviderError(message)  # this prompt is refused, others are not
    kind = STATUSES.get(error.status_code) or _class_of(error)
    if issubclass(kind, RateLimited):
        return RateLimited(message, retry_after_s(error.response.headers))
    if issubclass(kind, Transient):
        wait = retry_after_s(error.response.headers)
        return kind(message, wait, overloaded=error.status_code in _OVERLOADED)
    return kind(message)


def _class_of(error: Exception) -> type[ProviderError]:
    return next(ERRORS[cls] for cls in type(error).__mro__ if cls in ERRORS)
