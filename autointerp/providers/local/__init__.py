"""Models in process: see `LocalProvider`."""

from autointerp.providers.local.provider import LocalProvider

__all__ = ["LocalProvider"]
