"""Every error this wing raises on purpose, and the exit code each one means.

    AutointerpError
    ├── BadInput                  exit 2   a file, an option, a job that cannot be used as given: one clear line
    │   ├── BadStore                       a context store that is damaged, truncated or of another version
    │   ├── BadJob                         a job file with an unknown key, preset, provider or unit
    │   └── BadTemplate                    a prompt file that is missing, was edited after release, or misses a variable
    ├── BudgetExceeded            exit 4   the cap on spending would be crossed
    ├── LedgerError               exit 2   the ledger cannot be opened, is locked, or is corrupt
    │   └── NoLedger                       there is none where one was to be read
    └── ProviderError                      an LLM call that brought no usable reply
        ├── ProviderRefused       exit 3   stops the job: retrying cannot help
        │   ├── Authentication             the key is missing or wrong
        │   ├── Quota                      the account is out of credit
    │   └── NotFound                   the model, or whatever was named, is not there
        ├── Unsupported           exit 2   the model cannot do what the protocol needs (for instance prompt logprobs)
        ├── Transient                      worth asking again: timeout, dropped connection, 408, 409, 429, 5xx;
        │   │                              carries `retry_after_s` when the server said how long to wait
        │   └── RateLimited                429
        ├── WaitedTooLong                  the bound on waiting for a server that says "later" is used up
        ├── BadReply                       the server answered, but not with a reply of the protocol: asked again a
        │                                  few times
        ├── ContextOverflow                the prompt is longer than the model's context
        └── NotInLedger                    replay only: this request was never recorded

A `ProviderError` that does not stop the job becomes an `Unscored` with `reason`; it never becomes a number.
"""

from __future__ import annotations

from autointerp.types import Reason, Usage

__all__ = [
    "Authentication",
    "AutointerpError",
    "BadInput",
    "BadJob",
    "BadReply",
    "BadStore",
    "BadTemplate",
    "BudgetExceeded",
    "ContextOverflow",
    "LedgerError",
    "NoLedger",
    "NotFound",
    "NotInLedger",
    "ProviderError",
    "ProviderRefused",
    "Quota",
    "RateLimited",
    "Transient",
    "Unsupported",
    "WaitedTooLong",
]


class AutointerpError(Exception):
    """Root of the errors raised on purpose. `exit_code` is what a command line returns for it."""

    exit_code: int = 1


class BadInput(AutointerpError):
    """What was given cannot be used. The message is one line: what, where, and how to mend it."""

    exit_code = 2


class BadStore(BadInput):
    """A context store that is missing, damaged, truncated, or of a version this program cannot read."""


class BadJob(BadInput):
    """A job file with a key, preset, provider or unit that does not exist."""


class BadTemplate(BadInput):
    """A prompt file that is missing or changed, or a rendering that leaves a variable unset."""


class BudgetExceeded(AutointerpError):
    """The next call would cross the cap on spending. What is done is saved; a higher cap goes on from here."""

    exit_code = 4


class LedgerError(AutointerpError):
    """The ledger cannot be opened, is locked by another process, or is corrupt."""

    exit_code = 2


class NoLedger(LedgerError):
    """There is none where one was to be read."""


class ProviderError(AutointerpError):
    """An LLM call that brought no usable reply. `reason` is what a unit's outcome says of it.

    usage: what the call is billed by all the same: zeros where nothing is (it was refused, or never sent), None where
    nobody said.
    """

    exit_code = 3
    reason: Reason = Reason.PROVIDER_ERROR
    usage: Usage | None = None


class ProviderRefused(ProviderError):
    """The provider will refuse every call of this run: the job stops at once."""

    usage = Usage()


class Authentication(ProviderRefused):
    """The key is missing, wrong, or not allowed to use the model (401, 403)."""


class Quota(ProviderRefused):
    """The account has no credit left (for instance `insufficient_quota`)."""


class NotFound(ProviderRefused):
    """The model, batch or file that was named is not there, or not for this key (404)."""


class Unsupported(ProviderError):
    """The model or server cannot do what the protocol needs. Found before anything is spent where possible."""

    exit_code = 2
    usage = Usage()


class Transient(ProviderError):
    """Worth asking again: a timeout, a dropped connection, 408, 409, 429, or 5xx.

    retry_after_s: the server's own word in seconds, or None where it gave none. overloaded: the server has too much to
    do (429, 503, 529, a timeout), so that fewer calls at once would help; other faults say nothing of that.
    """

    def __init__(self, message: str, retry_after_s: float | None = None, *, overloaded: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.overloaded = overloaded


class RateLimited(Transient):
    """429: the account may not ask so often, or not for so many tokens."""

    usage = Usage()

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s, overloaded=True)


class WaitedTooLong(ProviderError):
    """A request would have to wait longer in all than the job allows (`max_wait_s`)."""

    usage = Usage()


class BadReply(ProviderError):
    """The server answered with something that is not a reply of its protocol (HTML, cut JSON, no choices).

    Asked again a few times; what is no reply then is taken for the server's way with this request.
    """

    reason = Reason.BAD_REPLY


class ContextOverflow(ProviderError):
    """The prompt and the room for the reply exceed the model's context."""

    reason = Reason.CONTEXT_OVERFLOW
    usage = Usage()


class NotInLedger(ProviderError):
    """Replay only: the ledger holds no reply for this request, and asking a model was not allowed."""

    reason = Reason.NOT_IN_LEDGER
    usage = Usage()
