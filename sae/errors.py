"""The error of the torch wing that a person can mend.

SaeError
└── BadInput     a file, an option or a model that cannot be used as asked: one line, exit code 2
"""

from __future__ import annotations


class SaeError(Exception):
    """Root of the errors this wing raises on purpose."""


class BadInput(SaeError):
    """What was given cannot be used. The message is one line: what, where, and how to mend it."""
