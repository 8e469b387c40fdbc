"""A template of which some variables are fixed: what depends on them alone is rendered once, and comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from autointerp.prompting.template import Template
from autointerp.protocols import Message

__all__ = ["Prompt"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Instructions and examples, which are the same for all units, then the question about one. Made by `Prompt.of`.

    opening: the messages that are the same whatever is asked; they are what a provider's prompt cache holds.
    """

    template: Template
    opening: tuple[Message, ...]
    _fixed: Mapping[str, Any]
    _rest: Template

    @classmethod
    def of(cls, template: Template, fixed: Mapping[str, Any]) -> Prompt:
        """The template with these variables fixed. Raises BadTemplate where one cannot be used as the template does."""
        first = list(takewhile(lambda message: message.variables <= set(fixed), template.messages))
        opening = replace(template, messages=tuple(first)).render(fixed)
        rest = replace(template, messages=template.messages[len(first) :])
        return cls(template, opening, fixed, rest)

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """All messages, with the other variables filled in. Raises BadTemplate as `Template.render` does."""
        return self.opening + self._rest.render({**self._fixed, **variables})
