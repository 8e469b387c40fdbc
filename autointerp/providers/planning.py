"""A model that is never asked: it counts what a run would ask of one, and answers so that the run's code goes on.

What the ledger knows is answered from it, so that a run that was begun is planned exactly. For the rest the tokens are
estimated and the reply is a placeholder of the right shape: a text that every explainer's parser accepts, or the same
log-probabilities everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

from autointerp.errors import NotInLedger, ProviderError
from autointerp.protocols import (
    Capabilities,
    ChatReply,
    ChatRequest,
    EchoReply,
    EchoRequest,
    Provider,
    Reply,
    Request,
    request_key,
)
from autointerp.providers.billing import most_generated
from autointerp.providers.ledger import Ledger
from autointerp.providers.piece_count import TOKENS_PER_PIECE, pieces
from autointerp.providers.prices import Price, cost_usd, most_usd
from autointerp.providers.token_estimate import PER_MESSAGE, TokenEstimate, sort_of
from autointerp.types import Usage

__all__ = ["REASONING_SHARE", "REPLY_SHARE", "KnownCalls", "PlanningModel", "Tally"]

REPLY_SHARE = 0.4
"""Of a request's room for the reply that is taken to be used, until the ledger holds replies of the model."""
REASONING_SHARE = 0.125
"""The same of the room for hidden reasoning."""

_SAMPLE = 400  # calls of the ledger that estimates are calibrated with, for each model
_ENOUGH = 5  # calls of a sort below which nothing is learned from them
_EXPLANATION = "a stand-in for the explanation, about as long as most are, number "


@dataclass(slots=True)
class Tally:
    """What was planned. Costs in USD; they and the tokens are of what is still to be asked.

    calls: requests, each once: known (the ledger answers them), missing (the ledger does not, and nothing may be asked)
    or to be asked; joined: further requests for one of these. batch_usd: the cost at the price of batches; most_usd:
    if every reply took all its room and no cache held anything; known_usage: of what the ledger answers.
    """

    calls: int = 0
    known: int = 0
    missing: int = 0
    joined: int = 0
    usage: Usage = field(default_factory=Usage)
    known_usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    batch_usd: float = 0.0
    most_usd: float = 0.0

    @property
    def to_ask(self) -> int:
        return self.calls - self.known - self.missing

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


class KnownCalls:
    """Ledgers to look into, none of which is changed: that of a run, and recordings that it will import."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = ledgers

    async def find(self, key: str) -> Reply | None:
        """The recorded reply to a request, or None."""
        for ledger in self._ledgers:
            if (reply := await ledger.find(key)) is not None:
                return reply
        return None

    def failure(self, key: str) -> ProviderError | None:
        """As `Ledger.failure`."""
        return next(filter(None, (ledger.failure(key) for ledger in self._ledgers)), None)

    def sample(self, provider: str, model: str, most: int) -> Iterator[tuple[Request, Reply]]:
        """Some answered calls of a model."""
        for ledger in self._ledgers:
            yield from ledger.sample(provider, model, most)


class PlanningModel:
    """Implements `LanguageModel`. Use `counted` around what is to be counted.

    price: None where nobody knows one; then costs stay 0 and mean nothing. replay_only: as of `LedgeredModel`: what the
    ledger does not know fails.
    """

    def __init__(
        self, provider: Provider, model: str, known: KnownCalls, *, price: Price | None, replay_only: bool = False
    ) -> None:
        self.price = price
        self.replay_only = replay_only
        self._provider = provider
        self._model = model
        self._known = known
        sample = list(known.sample(provider.name, model, _SAMPLE))
        self._habits = _Habits(sample)
        self._bound = TokenEstimate()
        for request, reply in sample:
            self._bound.learn(request, reply.usage)
        self._met: set[str] = set()
        self._guessed: set[tuple[int, int]] = set()  # messages and sample: of these the reply is a placeholder
        self._cached: set[int] = set()
        self._tally = Tally()

    @property
    def provider(self) -> str:
        return self._provider.name

    @property
    def model(self) -> str:
        return self._model

    @property
    def served_by(self) -> Provider:
        """The provider that a run would ask."""
        return self._provider

    @property
    def calibrated(self) -> int:
        """How many calls of the ledger the estimates were calibrated with."""
        return self._habits.calls

    def capabilities(self) -> Capabilities:
        return self._provider.capabilities(self._model)

    @contextmanager
    def counted(self) -> Iterator[Tally]:
        """What is asked within the block. One block at a time."""
        before, self._tally = self._tally, Tally()
        try:
            yield self._tally
        finally:
            self._tally = before

    async def chat(self, request: ChatRequest) -> tuple[str, ChatReply]:
        """(request key, the ledger's reply or a placeholder)."""
        key = request_key(self.provider, request)
        known = await self._look_up(key, request)
        if isinstance(known, ChatReply):
            return key, known
        text = f"<answer>{_EXPLANATION}{key[:8]}</answer>"  # no two alike, or no unit could lend one to another
        return key, ChatReply(text, "stop", self._model, Usage())

    async def echo(self, request: EchoRequest) -> tuple[str, EchoReply]:
        """(request key, the ledger's reply or a placeholder)."""
        key = request_key(self.provider, request)
        known = await self._look_up(key, request)
        if isinstance(known, EchoReply):
            return key, known
        row = (-2.0,) * len(request.candidates)
        return key, EchoReply((row,) * len(request.slots), self._model, Usage())

    async def _look_up(self, key: str, request: Request) -> Reply | None:
        if self._follows_a_guess(request):
            return None
        reply = await self._known.find(key)
        failure = self._failure(key) if reply is None and self.replay_only else None
        if key in self._met:
            self._tally.joined += 1
        else:
            self._met.add(key)
            self._count(request, reply, failure)
        if failure is not None:
            raise failure
        return reply

    def _follows_a_guess(self, request: Request) -> bool:
        """Whether it asks for another reply only because a placeholder could not be read."""
        if not isinstance(request, ChatRequest) or not request.sample:
            return False
        return any((hash(request.messages), sample) in self._guessed for sample in range(request.sample))

    def _failure(self, key: str) -> ProviderError:
        return self._known.failure(key) or NotInLedger(f"no reply of {self._model} is known for {key[:16]}")

    def _count(self, request: Request, reply: Reply | None, failure: ProviderError | None) -> None:
        self._tally.calls += 1
        if reply is not None:
            self._tally.known += 1
            self._tally.known_usage += reply.usage
        elif failure is not None:
            self._tally.missing += 1
        else:
            if isinstance(request, ChatRequest):
                self._guessed.add((hash(request.messages), request.sample))
            usage = self._expected(request)
            self._tally.usage += usage
            self._price(request, usage)

    def _price(self, request: Request, usage: Usage) -> None:
        if self.price is None:
            return
        now = datetime.now(UTC)
        self._tally.cost_usd += float(cost_usd(self.price, usage, now) or 0)
        self._tally.batch_usd += float(cost_usd(self.price, usage, now, batch=True) or 0)
        generated = most_generated(request, self.capabilities())
        prompt = max(usage.prompt_tokens, self._bound.most(request))
        self._tally.most_usd += float(most_usd(self.price, prompt, generated, now))

    def _expected(self, request: Request) -> Usage:
        habit = self._habits.of(request)
        prompt = round(_pieces(request) * habit.tokens_per_piece) + PER_MESSAGE * len(request.messages)
        read, written = (round(habit.cached * prompt), 0) if habit.calls else self._caching(request, prompt)
        generated = 0
        if isinstance(request, ChatRequest):
            room = self.capabilities().reasoning_room
            hidden = 0.0 if habit.calls else REASONING_SHARE * room  # a habit's share holds the hidden tokens
            generated = round(min(habit.reply_share * request.max_tokens + hidden, request.max_tokens + room))
        return Usage(prompt, generated, read, written)

    def _caching(self, request: Request, prompt: int) -> tuple[int, int]:
        """(tokens read, tokens written) by the rule: what comes before the last question is kept by the vendor."""
        if not self.capabilities().prompt_caching:
            return 0, 0
        asked = [place for place, message in enumerate(request.messages) if message.role == "user"]
        stable = request.messages[: asked[-1]] if asked else ()
        share = sum(pieces(message.content) for message in stable) / max(1, _pieces(request))
        tokens = round(share * prompt)
        if tokens < self.capabilities().cached_from:
            return 0, 0
        if hash(stable) in self._cached:
            return tokens, 0
        self._cached.add(hash(stable))
        return 0, tokens


@dataclass(frozen=True, slots=True)
class _Habit:
    """What calls of one sort have in common. calls: how many it was learned from; cached: share of the prompt."""

    calls: int = 0
    tokens_per_piece: float = TOKENS_PER_PIECE
    reply_share: float = REPLY_SHARE
    cached: float = 0.0


class _Habits:
    """What the ledger's calls of a model say of its tokens, for each sort of request."""

    def __init__(self, calls: Iterable[tuple[Request, Reply]]) -> None:
        sorts: dict[object, list[tuple[Request, Usage]]] = {}
        for request, reply in calls:
            if reply.usage.prompt_tokens:
                sorts.setdefault(sort_of(request), []).append((request, reply.usage))
        self._learned = {sort: _learned(group) for sort, group in sorts.items() if len(group) >= _ENOUGH}
        self.calls = sum(habit.calls for habit in self._learned.values())

    def of(self, request: Request) -> _Habit:
        return self._learned.get(sort_of(request), _Habit())


def _learned(calls: Sequence[tuple[Request, Usage]]) -> _Habit:
    prompt = sum(usage.prompt_tokens for _, usage in calls)
    bare = prompt - sum(PER_MESSAGE * len(request.messages) for request, _ in calls)
    room = sum(request.max_tokens for request, _ in calls if isinstance(request, ChatRequest))
    return _Habit(
        calls=len(calls),
        tokens_per_piece=bare / max(1, sum(_pieces(request) for request, _ in calls)),
        reply_share=sum(usage.completion_tokens for _, usage in calls) / room if room else 0.0,
        cached=sum(usage.cached_prompt_tokens for _, usage in calls) / prompt,
    )


def _pieces(request: Request) -> int:
    return sum(pieces(message.content) for message in request.messages)
