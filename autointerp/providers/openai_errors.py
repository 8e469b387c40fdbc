"""The one place where the SDK's errors become this project's."""

from __future__ import annotations

import openai

from autointerp.errors import (
    Authentication,
    BadReply,
    ContextOverflow,
    NotFound,
    ProviderError,
    ProviderRefused,
    Quota,
    RateLimited,
    Transient,
)
from autointerp.providers.keys import Secret
from autointerp.providers.vendor import failure_of, kind_of, one_line

__all__ = ["ERRORS", "STATUSES", "translate"]

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
    openai.NotFoundError: NotFound,
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


def translate(error: Exception, secret: Secret) -> ProviderError:
    """This project's error for an error of the SDK, without `secret` in its text."""
    said = one_line(error, secret)
    if isinstance(error, openai.APITimeoutError):
        return Transient(said, overloaded=True)
    if not isinstance(error, openai.APIStatusError):
        return failure_of(kind_of(error, ERRORS), said)
    return failure_of(_kind(error, f"{error.code} {error.type} {said}"), said, error.response)


def _kind(error: openai.APIStatusError, said: str) -> type[ProviderError]:
    """The class by what the body says, else by the status."""
    if any(code in said for code in _QUOTA_CODES):
        return Quota
    if error.status_code in (400, 413, 422, 500) and any(sign in said for sign in _OVERFLOW_SIGNS):
        return ContextOverflow
    if error.status_code == 400 and any(code in said for code in _FILTER_CODES):
        return ProviderError  # this prompt is refused, others are not
    return STATUSES.get(error.status_code) or kind_of(error, ERRORS)
