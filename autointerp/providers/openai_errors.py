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
from autointerp.providers.vendor import Vendor

__all__ = ["ERRORS", "SDK", "STATUSES"]

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


def _refined(error: Exception, said: str) -> type[ProviderError] | None:
    """The class by what the body says, else by a status that the SDK has no class for."""
    if not isinstance(error, openai.APIStatusError):
        return None
    said = f"{error.code} {error.type} {said}"
    if any(code in said for code in _QUOTA_CODES):
        return Quota
    if error.status_code in (400, 413, 422, 500) and any(sign in said for sign in _OVERFLOW_SIGNS):
        return ContextOverflow
    if error.status_code == 400 and any(code in said for code in _FILTER_CODES):
        return ProviderError  # this prompt is refused, others are not
    return STATUSES.get(error.status_code)


SDK = Vendor(ERRORS, openai.APITimeoutError, _refined)
