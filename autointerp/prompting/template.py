"""Prompt templates: messages whose text is filled in by jinja2 with values, and with nothing else.

A template file (TOML) lists messages; each has a role and a text. Roles are structure, never parsed out of rendered
text, so corpus text cannot open a message. Corpus text reaches a template as a value: jinja2 does not look for template
syntax in values, the sandbox keeps templates from reaching into objects, and a variable that is not given is an error.
`macros` holds what several messages share, so that examples and the real question cannot take different forms.
Messages with the same `each = "examples"` are repeated, together, for every item of that variable, which they see under
the name `example`.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources.abc import Traversable
from itertools import groupby
from typing import Any, Literal, cast

import jinja2.meta
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from autointerp.errors import BadTemplate
from autointerp.prompting.excerpts import Excerpt, Line
from autointerp.prompting.few_shot import FewShotUnit, parse_few_shot
from autointerp.prompting.library import PromptFile, read_prompt_file
from autointerp.protocols import Message

__all__ = ["MessageTemplate", "Template", "load_template"]


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox asks of every attribute whether a template may see it: for two in each line, most of a rendering."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if attribute in _OPEN.get(type(obj), ()):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


_OPEN: Mapping[type, frozenset[str]] = {cls: frozenset(field.name for field in fields(cls)) for cls in (Line, Excerpt)}
_ENVIRONMENT = _Environment(
    undefined=StrictUndefined,
    autoescape=False,  # prompts are plain text; what is inserted was made inert before
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ROLES = ("system", "user", "assistant")
_KEYS = {"id", "version", "about", "few_shot", "macros", "messages"}


@cache
def _compiled(source: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(source)


@cache
def _variables(source: str) -> frozenset[str]:
    return frozenset(jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(source)))


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """One message: its role, the jinja2 source of its text, and the variable over which it is repeated, if any."""

    role: Literal["system", "user", "assistant"]
    source: str
    each: str | None

    @property
    def variables(self) -> frozenset[str]:
        """The names that its text and its repetition need."""
        return _variables(self.source) - {"example"} | ({self.each} if self.each else set())


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt. reference: "id@version"; sha256: over its own file and its few-shot file."""

    reference: str
    sha256: str
    messages: tuple[MessageTemplate, ...]
    few_shot: tuple[FewShotUnit, ...]

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """The messages with `variables` filled in. Raises BadTemplate where one is missing or cannot be used so."""
        rendered: list[Message] = []
        for each, group in groupby(self.messages, key=lambda message: message.each):
            messages = tuple(group)
            for scope in self._scopes(each, variables):
                rendered += [Message(message.role, self._fill(message.source, scope)) for message in messages]
        return tuple(rendered)

    def _scopes(self, each: str | None, variables: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        if each is None:
            yield variables
            return
        if each not in variables:
            raise BadTemplate(f"prompt {self.reference}: '{each}' is undefined")
        for item in variables[each]:
            yield {**variables, "example": item}

    def _fill(self, source: str, variables: Mapping[str, Any]) -> str:
        try:
            return _compiled(source).render(variables)
        except (TemplateError, TypeError) as error:
            raise BadTemplate(f"prompt {self.reference}: {error}") from error

    def examples(self, count: int) -> tuple[FewShotUnit, ...]:
        """The first `count` few-shot units. Raises BadTemplate where the prompt has fewer."""
        if count > len(self.few_shot):
            raise BadTemplate(
                f"prompt {self.reference} has {len(self.few_shot)} few-shot units, not {count}: ask for fewer"
            )
        return self.few_shot[:count]


def _message(reference: str, macros: str, entry: Any) -> MessageTemplate:
    if not isinstance(entry, dict) or not set(entry) <= {"role", "text", "each"}:
        raise BadTemplate(f"prompt {reference}: a message has the keys role, text and each, and no others")
    role, text, each = entry.get("role"), entry.get("text"), entry.get("each")
    if role not in _ROLES or not isinstance(text, str) or not isinstance(each, str | None):
        raise BadTemplate(f"prompt {reference}: a message needs a role ({', '.join(_ROLES)}) and a text")
    try:
        _ENVIRONMENT.parse(macros + text)
    except TemplateError as error:
        raise BadTemplate(f"prompt {reference}: {error}") from error
    return MessageTemplate(cast(Literal["system", "user", "assistant"], role), macros + text, each)


def _table(file: PromptFile) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        raise BadTemplate(f"prompt {file.reference}: not valid TOML ({error})") from error
    if unknown := sorted(set(table) - _KEYS):
        raise BadTemplate(f"prompt {file.reference}: unknown key {unknown[0]!r}")
    if f"{table.get('id')}@{table.get('version')}" != file.reference.rpartition(":")[2]:
        raise BadTemplate(f"prompt {file.reference}: its id and version inside differ from its file name")
    if not isinstance(table.get("messages"), list) or not table["messages"]:
        raise BadTemplate(f"prompt {file.reference}: it has no messages")
    return table


def _load(reference: str, folder: Traversable | None) -> Template:
    file = read_prompt_file(reference, folder)
    table = _table(file)
    digest, few_shot = file.sha256, tuple[FewShotUnit, ...]()
    if "few_shot" in table:
        package, colon, _ = reference.rpartition(":")
        examples = read_prompt_file(f"{package}{colon}{table['few_shot']}", folder)
        few_shot = parse_few_shot(examples)
        digest = hashlib.sha256(f"{digest}\n{examples.sha256}".encode()).hexdigest()
    messages = tuple(_message(reference, str(table.get("macros", "")), entry) for entry in table["messages"])
    return Template(reference, digest, messages, few_shot)


@cache
def load_template(reference: str, folder: Traversable | None = None) -> Template:
    """The template of a reference, with its few-shot units, which are files of the same folder.

    The reference is "id@version", or "package:id@version" for a file in the folder `prompts` of another package. Raises
    BadTemplate where a file is missing or malformed.
    """
    return _load(reference, folder)
