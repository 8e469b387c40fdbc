"""Keys: from the environment, at the first call, and never in a message."""

from __future__ import annotations

import os

from autointerp.errors import Authentication

__all__ = ["NO_SECRET", "Secret", "secret_of"]


class Secret:
    """A key that shows itself in no repr, so in no traceback with local variables either."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret()"

    def reveal(self) -> str:
        """The key itself, for the client's constructor."""
        return self._value

    @property
    def is_plain(self) -> bool:
        """Whether it can be sent as a header: printable ASCII without spaces."""
        return self._value.isascii() and self._value.isprintable() and " " not in self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def removed_from(self, text: str) -> str:
        """The text with the key taken out, should a server have repeated it."""
        return text.replace(self._value, "[key]") if self._value else text


NO_SECRET = Secret("")


def secret_of(variable: str, provider: str) -> Secret:
    """The key that the environment variable holds. Raises Authentication where it holds none, or what is none."""
    secret = Secret(os.environ.get(variable, "").strip())
    if not secret:
        raise Authentication(f"no key for {provider}: set the environment variable {variable}")
    if not secret.is_plain:  # the transport would refuse it, and repeat it in its complaint
        raise Authentication(f"the environment variable {variable} holds no key: it has spaces or unusual characters")
    return secret
