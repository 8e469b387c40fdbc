"""The `autointerp` command. Each group of commands lives in a module of its own."""

from autointerp.cli.main import app, main

__all__ = ["app", "main"]
