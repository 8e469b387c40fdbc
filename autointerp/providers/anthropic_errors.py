"""The one place where the errors of Anthropic's SDK become this project's."""

from __future__ import annotations

import anthropic

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

__all__ = ["ERRORS", "IMPOSSIBLE", "SDK"]

# Exceptions the SDK exports and no call made here can raise. They are caught like the others, should that be wrong.
IMPOSSIBLE: dict[type[Exception], type[ProviderError]] = {
    anthropic.APIWebhookValidationError: ProviderError,  # no webhooks
    anthropic.RetryableError: Transient,  # of a caller's middleware, and there is none
    anthropic.CredentialsError: Authentication,  # the key is given, so no other credentials are looked for
    anthropic.IdentityTokenFileError: Authentication,
    anthropic.WorkloadIdentityError: Authentication,
    anthropic.ClaudeCodeVersionTooOldError: ProviderRefused,  # of another program
    anthropic.OrganizationTypeNotSupportedError: ProviderRefused,  # of other endpoints
    anthropic.ParentOrganizationRequiredError: ProviderRefused,
    anthropic.RequestBodyEncodingInvalidError: ProviderRefused,  # bodies are sent as they are
    anthropic.RequestBodyEncodingUnsupportedError: ProviderRefused,
    anthropic.RequestBodyTooLargeAfterDecodingError: ContextOverflow,
    anthropic.LinkedOrganizationBillingUnavailableError: Quota,  # no user profiles
    anthropic.LinkedOrganizationSpendLimitReachedError: Quota,
}

# Every other exception the SDK exports. A body may say more than the class: see `_refined`.
ERRORS: dict[type[Exception], type[ProviderError]] = {
    **IMPOSSIBLE,
    anthropic.AnthropicError: ProviderError,
    anthropic.APIError: ProviderError,
    anthropic.APIStatusError: ProviderError,
    anthropic.APIConnectionError: Transient,
    anthropic.APITimeoutError: Transient,
    anthropic.APIResponseValidationError: BadReply,
    anthropic.BadRequestError: ProviderRefused,  # 400
    anthropic.ClaudeCodeKeyCreatorNotMemberError: Authentication,
    anthropic.CMEKKeyDisabledError: ProviderRefused,
    anthropic.CMEKKeyNetworkBlockedError: ProviderRefused,
    anthropic.OrganizationOnHoldError: Authentication,
    anthropic.WorkspaceHumanReviewDisabledError: ProviderRefused,
    anthropic.AuthenticationError: Authentication,  # 401
    anthropic.PaymentRequiredError: Quota,  # 402
    anthropic.PermissionDeniedError: Authentication,  # 403
    anthropic.SandboxEgressRestrictedError: Authentication,
    anthropic.NotFoundError: NotFound,  # 404
    anthropic.RequestTimeoutError: Transient,  # 408
    anthropic.ConflictError: Transient,  # 409
    anthropic.PreconditionFailedError: ProviderRefused,  # 412
    anthropic.ContentTooLargeError: ContextOverflow,  # 413
    anthropic.RequestTooLargeError: ContextOverflow,  # an older name of the same
    anthropic.UnprocessableEntityError: ProviderRefused,  # 422
    anthropic.RateLimitError: RateLimited,  # 429
    anthropic.ContractSpendLimitReachedError: Quota,
    anthropic.EnforcedSpendLimitReachedError: Quota,
    anthropic.RampLimitExceededError: RateLimited,
    anthropic.RequestHeaderFieldsTooLargeError: ProviderRefused,  # 431
    anthropic.ClientClosedRequestError: Transient,  # 499
    anthropic.InternalServerError: Transient,  # 500 and above
    anthropic.HTTPNotImplementedError: ProviderRefused,  # 501
    anthropic.ServiceUnavailableError: Transient,  # 503
    anthropic.CMEKContextUnavailableError: Transient,
    anthropic.CMEKKeyUnreachableError: Transient,
    anthropic.GatewayTimeoutError: Transient,  # 504
    anthropic.DeadlineExceededError: Transient,  # an older name of the same
    anthropic.OverloadedError: Transient,  # 529
}

# Some refusals have the status 400 and no code of their own, so only their words tell them apart. Where the vendor
# changes these they are a plain bad request again, which stops a run as well.
_QUOTA_SIGNS = ("credit balance is too low", "reached your specified api usage limits")
_OVERFLOW_SIGNS = ("prompt is too long", "exceed context limit")
_FILTER_SIGNS = ("content filtering policy",)


def _refined(error: Exception, said: str) -> type[ProviderError] | None:
    """The class by what the body says."""
    if not isinstance(error, anthropic.APIStatusError):
        return None
    said = said.lower()
    if error.type == "billing_error" or (error.status_code == 400 and _any(_QUOTA_SIGNS, said)):
        return Quota
    if error.status_code == 400 and _any(_OVERFLOW_SIGNS, said):
        return ContextOverflow
    if error.status_code == 400 and _any(_FILTER_SIGNS, said):
        return ProviderError  # this prompt is refused, others are not
    return None


def _any(signs: tuple[str, ...], said: str) -> bool:
    return any(sign in said for sign in signs)


SDK = Vendor(ERRORS, anthropic.APITimeoutError, _refined)
