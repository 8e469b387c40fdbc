"""Asking a model: a reply or an `Unscored`, and the provenance of what the replies were made into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from autointerp.errors import ProviderError, ProviderRefused, Unsupported
from autointerp.prompting.parsing import ParseFailure
from autointerp.prompting.template import Template
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, LanguageModel
from autointerp.seeds import derive
from autointerp.types import Provenance, Unscored, Usage

__all__ = [
    "Answer",
    "Call",
    "all_of",
    "ask_and_read",
    "ask_chat",
    "ask_echo",
    "failed_call",
    "merge_provenance",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A reply that could be read: the request it answers, its key, the reply, and what was read of it."""

    request: ChatRequest
    key: str
    reply: ChatReply
    value: T


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks, with which prompt and settings: what is known of the provenance before the reply.

    method: "name@version" of the component that asks.
    """

    method: str
    template: Template
    model: LanguageModel
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    def provenance(self, key: str, reply: ChatReply | EchoReply) -> Provenance:
        """The provenance of a value made from one reply."""
        return Provenance(
            method=self.method,
            prompt_id=self.template.reference,
            prompt_hash=self.template.sha256,
            provider=self.model.provider,
            model_asked=self.model.model,
            model_served=reply.model_served,
            settings=self.settings,
            seed=self.seed,
            request_keys=(key,),
            usage=reply.usage,
        )


def failed_call(error: ProviderError) -> Unscored:
    """A failed call as a value. What would fail every call of a run is raised again instead."""
    if isinstance(error, ProviderRefused | Unsupported):
        raise error
    return Unscored(error.reason, str(error))


async def ask_chat(model: LanguageModel, request: ChatRequest) -> tuple[str, ChatReply] | Unscored:
    """(key, reply), or why there is none. Raises ProviderRefused, Unsupported and BudgetExceeded, which stop a run."""
    try:
        return await model.chat(request)
    except ProviderError as error:
        return failed_call(error)


async def ask_and_read(
    model: LanguageModel, request: ChatRequest, samples: int, read: Callable[[ChatReply], T | ParseFailure]
) -> Answer[T] | Unscored:
    """What was answered, or why nothing was: where a reply cannot be read, another one is asked for.

    samples: replies asked for at most, 1 or more; the ledger knows each by its number. Raises as `ask_chat` does.
    """
    unread: Unscored | None = None
    for number in range(samples):
        sent = _sampled(request, number)
        answer = await ask_chat(model, sent)
        if isinstance(answer, Unscored):
            return unread or answer
        key, reply = answer
        value = read(reply)
        if not isinstance(value, ParseFailure):
            return Answer(sent, key, reply, value)
        unread = unread or value.unscored()
    if unread is None:
        raise ValueError(f"samples must be 1 or more, not {samples}")
    return unread


def _sampled(request: ChatRequest, number: int) -> ChatRequest:
    """The request for another reply to the same messages, with a seed of its own where one is sent; 0: as it is."""
    if number == 0:
        return request
    seed = None if request.seed is None else derive(request.seed, "sample", str(number)) >> 33
    return replace(request, sample=number, seed=seed)


async def ask_echo(model: LanguageModel, request: EchoRequest) -> tuple[str, EchoReply] | Unscored:
    """(key, reply), or why there is none. Raises ProviderRefused, Unsupported and BudgetExceeded, which stop a run."""
    try:
        return await model.echo(request)
    except ProviderError as error:
        return failed_call(error)


async def all_of(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of calls made at once, in order. Where one raises, the others are cancelled first."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def merge_provenance(provenances: Iterable[Provenance]) -> tuple[Provenance, ...]:
    """Provenances that differ only in their calls as one: the calls in order, each call's usage counted once."""
    groups: dict[str, dict[tuple[str, ...], Provenance]] = {}
    for one in provenances:
        description = repr(replace(one, request_keys=(), usage=Usage()))
        groups.setdefault(description, {}).setdefault(one.request_keys, one)
    return tuple(_joined(list(group.values())) for group in groups.values())


def _joined(group: list[Provenance]) -> Provenance:
    keys = tuple(key for one in group for key in one.request_keys)
    return replace(group[0], request_keys=keys, usage=sum((one.usage for one in group), Usage()))
