"""The extension points: what an explainer, a simulator, a scorer and a provider must offer.

Each is a `typing.Protocol`: a class of another package fits by having the methods; it registers by one line (see
`autointerp.registry`). A request is data with a canonical form, so that its hash is its name in the ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from autointerp.types import (
    Context,
    ExplainSplit,
    Explanation,
    Role,
    Score,
    Simulation,
    UnitId,
    UnitRecord,
    UnitStatistics,
    Unscored,
    Usage,
)

__all__ = [
    "Capabilities",
    "ChatReply",
    "ChatRequest",
    "EchoReply",
    "EchoRequest",
    "Explainer",
    "Judgement",
    "LanguageModel",
    "Message",
    "Provider",
    "Reply",
    "Request",
    "Scorer",
    "Simulator",
    "TokenLogprobs",
    "request_key",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation to be continued.

    max_tokens: room for the reply; temperature None: not sent (models that take none); top_logprobs: how many
    alternatives to report for each generated token (0: none); sample: tells repeated draws of one prompt apart.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_mode: bool = False
    top_logprobs: int = 0
    sample: int = 0


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """Prompt log-probabilities: what would the model write at marked places of a text that is already there?

    The last message is the assistant's and holds the text; `slots` are character offsets into it, ascending;
    `candidates` are the possible next tokens. This is the one forward pass of LMEN's all-at-once simulator.
    """

    model: str
    messages: tuple[Message, ...]
    slots: tuple[int, ...]
    candidates: tuple[str, ...]

    def __post_init__(self) -> None:
        text = self.messages[-1]
        if text.role != "assistant":
            raise ValueError("the last message of an echo request is the assistant's")
        if list(self.slots) != sorted(set(self.slots)) or not all(0 < slot <= len(text.content) for slot in self.slots):
            raise ValueError("slots are ascending character offsets inside the last message")


Request: TypeAlias = ChatRequest | EchoRequest


def request_key(provider: str, request: Request) -> str:
    """The name of a request in the ledger: SHA-256 (hex) of provider, model, parameters, messages and sample number."""
    body = {"provider": provider, "kind": type(request).__name__, **asdict(request)}
    text = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """A generated token, its log-probability (nats), and the most likely alternatives at its place."""

    token: str
    logprob: float
    top: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What the model wrote. `finish` is "stop" or "length" or the provider's own word (for instance "refusal")."""

    text: str
    finish: str
    model_served: str
    usage: Usage
    logprobs: tuple[TokenLogprobs, ...] = ()


@dataclass(frozen=True, slots=True)
class EchoReply:
    """[slots][candidates] log-probabilities (nats); None where the server's list of alternatives did not hold one."""

    logprobs: tuple[tuple[float | None, ...], ...]
    model_served: str
    usage: Usage


Reply: TypeAlias = ChatReply | EchoReply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model behind a provider can do; None for a limit means unknown.

    temperature, stop: whether it takes these fields of a request; prompt_caching: whether what prompts share at their
    beginning is read from a cache, for less; cached_from: how many tokens that must be at least; reasoning_room: tokens
    that a call may generate, and be billed for, beyond the request's max_tokens, because the model reasons before it
    answers.
    """

    prompt_logprobs: bool = False
    generated_logprobs: bool = False
    json_mode: bool = False
    seed: bool = False
    context_tokens: int | None = None
    # Candidates of an EchoRequest must be single tokens: "0".."9" always are; "10" is not where digits are split.
    single_token_ten: bool = False
    temperature: bool = True
    stop: bool = True
    prompt_caching: bool = False
    cached_from: int = 1024
    reasoning_room: int = 0


@runtime_checkable
class Provider(Protocol):
    """Who serves the LLM. `name` is part of every request's key, so it is stable across machines."""

    @property
    def name(self) -> str: ...

    def capabilities(self, model: str) -> Capabilities: ...

    async def ask(self, request: Request) -> Reply:
        """The reply. Raises a `ProviderError`; never returns an error in the place of a reply."""
        ...

    async def close(self) -> None: ...


class LanguageModel(Protocol):
    """One model behind one provider, with the ledger in between: what explainers and simulators are given.

    Both methods raise `ProviderError`; `provenance` describes the calls whose keys are given.
    """

    @property
    def provider(self) -> str: ...

    @property
    def model(self) -> str: ...

    def capabilities(self) -> Capabilities: ...

    async def chat(self, request: ChatRequest) -> tuple[str, ChatReply]:
        """(request key, reply)."""
        ...

    async def echo(self, request: EchoRequest) -> tuple[str, EchoReply]:
        """(request key, reply)."""
        ...


class Explainer(Protocol):
    """Writes what a unit responds to, from the explain split alone."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    async def explain(
        self, unit: UnitId, records: ExplainSplit, statistics: UnitStatistics, model: LanguageModel, seed: int
    ) -> Explanation | Unscored: ...


class Simulator(Protocol):
    """Predicts activations from an explanation and bare contexts; it is never handed an activation.

    `generates`: whether it has the model write, so that a temperature is sent; one that reads log-probabilities of a
    prompt has not.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def generates(self) -> bool: ...

    async def simulate(
        self, explanation: Explanation, contexts: Sequence[Context], model: LanguageModel, seed: int
    ) -> Sequence[Simulation | Unscored]:
        """One outcome per context, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a scorer found of one explanation of one unit: its scores and the simulations behind them (if any).

    Of the scores under one scorer's name the first is of the metric by which units are ranked.
    """

    scores: tuple[Score, ...]
    simulations: tuple[Simulation, ...] = ()


class Scorer(Protocol):
    """Judges an explanation on the score split. A scorer that needs an LLM asks `model` itself."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    async def score(
        self, explanation: Explanation, record: UnitRecord, model: LanguageModel, role: Role, seed: int
    ) -> Judgement:
        """The judgement on `record.unit`; the explanation may be another unit's (a control)."""
        ...
