"""What tokens cost: from the price list that ships with genai-prices (nothing is fetched), or as a job gives it.

How tokens are counted decides what they cost. In `Usage` the prompt's tokens are all of them, of which some were read
from the vendor's cache and some written to it, and the generated tokens are all of them, of which some were hidden
reasoning: so each token is billed once, by the narrowest sort it belongs to. The readers of replies see to it that
every vendor's usage has this form (OpenAI counts so itself; Anthropic's input_tokens leave out those read and written).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Protocol, runtime_checkable

from autointerp.errors import BadJob
from autointerp.protocols import Provider
from autointerp.types import Usage

__all__ = ["HOW_TO_GIVE", "GivenPrice", "ListedPrice", "Price", "Rates", "cost_usd", "listed", "most_usd", "price_of"]

HOW_TO_GIVE = (
    "give it in the job file as price = { input_per_million = USD, output_per_million = USD } of the model, or beside "
    "--llm as --price INPUT,OUTPUT"
)
"""What to do where a price is needed and not known."""
_MILLION = Decimal(1_000_000)
_BATCH: Mapping[str, str] = {"processing": "batch"}


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens by sort, and USD per request.

    input: of the prompt, neither read from the vendor's cache nor written to it; reasoning: generated and hidden.
    """

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    output: Decimal
    reasoning: Decimal
    request: Decimal = Decimal(0)

    def cost(self, usage: Usage) -> Decimal:
        """USD for one request. Where nothing was used, nothing is owed."""
        if usage == Usage():
            return Decimal(0)
        read, written, hidden = usage.cached_prompt_tokens, usage.cache_write_tokens, usage.reasoning_tokens
        # Some servers count what their cache held beside the prompt and not in it, some the same with reasoning.
        fresh = usage.prompt_tokens - read - written if read + written <= usage.prompt_tokens else usage.prompt_tokens
        shown = usage.completion_tokens - hidden if hidden <= usage.completion_tokens else usage.completion_tokens
        tokens = (
            self.input * fresh
            + self.cached_input * read
            + self.cache_write * written
            + self.output * shown
            + self.reasoning * hidden
        )
        return tokens / _MILLION + self.request


class Price(Protocol):
    """What a model costs. `source` says where that is from, in words."""

    @property
    def source(self) -> str: ...

    def rates(self, prompt_tokens: int, at: datetime, *, batch: bool = False) -> Rates | None:
        """Those of a request with so many prompt tokens, asked at a time; None: no price of batches is known."""
        ...


@dataclass(frozen=True, slots=True)
class GivenPrice:
    """A price that a person gives, in USD per million tokens.

    cached_input_per_million, cache_write_per_million: None, as the rest of the prompt. batch_factor: what a batch costs
    of that (0.5: half); None: nothing is known of batches. Hidden reasoning costs what all output costs.
    """

    input_per_million: float
    output_per_million: float
    cached_input_per_million: float | None = None
    cache_write_per_million: float | None = None
    batch_factor: float | None = None

    @property
    def source(self) -> str:
        return "the job's price"

    def rates(self, prompt_tokens: int, at: datetime, *, batch: bool = False) -> Rates | None:
        """See `Price`."""
        if batch and self.batch_factor is None:
            return None
        factor = _decimal(self.batch_factor or 0.0) if batch else Decimal(1)
        read, written = (
            self.input_per_million if one is None else one
            for one in (self.cached_input_per_million, self.cache_write_per_million)
        )
        prices = (self.input_per_million, read, written, self.output_per_million, self.output_per_million)
        return Rates(*(_decimal(one) * factor for one in prices))


class ListedPrice:
    """A model's entry in the price list. It may change with the date, the time of day and the length of the prompt."""

    def __init__(self, vendor: str, entry: Any) -> None:
        self.source = f"genai-prices {version('genai-prices')}: {vendor} {entry.id}"
        self._entry = entry
        self._by_minute: Callable[[datetime, bool], Any] = lru_cache(maxsize=8)(self._of)

    def rates(self, prompt_tokens: int, at: datetime, *, batch: bool = False) -> Rates | None:
        """See `Price`. at: an aware time."""
        price = self._by_minute(at.astimezone(UTC).replace(second=0, microsecond=0), batch)
        return None if price is None else _rates(price, prompt_tokens)

    def highest(self, prompt_tokens: int, at: datetime) -> list[Rates]:
        """All rates that a request may meet that waits before it is sent: now, and at the other times of this day."""
        times = [at]
        prices = self._entry.prices
        if isinstance(prices, list) and any(hasattr(one.constraint, "start_time") for one in prices):
            midnight = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
            times += [midnight + timedelta(minutes=30 * number) for number in range(96)]
        found = [_rates(self._of(one, False), prompt_tokens) for one in times] if len(times) > 1 else []
        return found or [rates for rates in [self.rates(prompt_tokens, at)] if rates is not None]

    def _of(self, at: datetime, batch: bool) -> Any:
        standard = self._entry.get_prices(at)
        if not batch:
            return standard
        discounted = self._entry.get_prices(at, _BATCH)
        return None if discounted == standard else discounted


def listed(price_list: str, model: str) -> ListedPrice | None:
    """A model's price by the list; None where the list does not know its seller, so nobody is known to bill for it.

    price_list: a vendor's name as genai-prices has it, or a server's address. Raises BadJob where the seller is known,
    and this model of it is not, or only by something else than tokens.
    """
    from genai_prices.data_snapshot import get_snapshot

    by_address = price_list.startswith(("http://", "https://"))
    names: dict[str, Any] = {"provider_id": None, "provider_api_url": None}
    names["provider_api_url" if by_address else "provider_id"] = price_list
    snapshot = get_snapshot()
    try:
        seller = snapshot.find_provider(None, **names)
    except LookupError:
        return None
    entry = seller.find_model(model, all_providers=snapshot.providers)
    if entry is None or not _by_tokens(entry):
        raise BadJob(f"the price of {model} at {seller.name} is not known: {HOW_TO_GIVE}")
    return ListedPrice(seller.id, entry)


@runtime_checkable
class Sold(Protocol):
    """A provider that can say by whose price list it is billed; of another nobody knows what it costs."""

    @property
    def price_list(self) -> str: ...


def price_of(provider: Provider, model: str, given: Price | None = None) -> Price | None:
    """The price that was given, else the listed one; None for a model that no vendor sells (it is unpriced, not free).

    Raises BadJob where a vendor sells the model at a price that is not known.
    """
    if given is not None or not isinstance(provider, Sold):
        return given
    return listed(provider.price_list, model)


def cost_usd(price: Price, usage: Usage, at: datetime, *, batch: bool = False) -> Decimal | None:
    """What one request cost; None where no price of batches is known."""
    rates = price.rates(_size(usage), at, batch=batch)
    return None if rates is None else rates.cost(usage)


def most_usd(price: Price, prompt_tokens: int, completion_tokens: int, at: datetime) -> Decimal:
    """What one request costs at most: nothing is read from a cache, and all of the prompt may be written to it."""
    if isinstance(price, ListedPrice):
        possible = price.highest(prompt_tokens, at)
    else:
        possible = [rates for rates in [price.rates(prompt_tokens, at)] if rates is not None]
    plain = Usage(prompt_tokens, completion_tokens)
    written = replace(plain, cache_write_tokens=prompt_tokens)
    read = replace(plain, cached_prompt_tokens=prompt_tokens)
    hidden = [replace(one, reasoning_tokens=completion_tokens) for one in (plain, written, read)]
    return max(rates.cost(one) for rates in possible for one in (plain, written, read, *hidden))


def _size(usage: Usage) -> int:
    """All tokens of the prompt, also where a server counts those of its cache apart."""
    apart = usage.cached_prompt_tokens + usage.cache_write_tokens
    return usage.prompt_tokens + (apart if apart > usage.prompt_tokens else 0)


def _decimal(number: float) -> Decimal:
    """The number as it was written: 0.1 is a tenth."""
    return Decimal(str(number))


def _by_tokens(entry: Any) -> bool:
    prices = [one.prices for one in entry.prices] if isinstance(entry.prices, list) else [entry.prices]
    return bool(prices) and all(one.input_mtok is not None and one.output_mtok is not None for one in prices)


def _rates(price: Any, prompt_tokens: int) -> Rates:
    """Of one entry of the list; what it does not price apart costs as the sort that it is part of."""

    def at(value: Any) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        above = [tier.price for tier in value.tiers if prompt_tokens > tier.start]  # ascending; all tokens cost it
        return Decimal(above[-1] if above else value.base)

    base, output, request = at(price.input_mtok), at(price.output_mtok), at(price.requests_kcount)
    read, written, hidden = at(price.cache_read_mtok), at(price.cache_write_mtok), at(price.output_reasoning_mtok)
    assert base is not None  # `listed` refuses what has no price by tokens
    assert output is not None
    return Rates(
        input=base,
        cached_input=base if read is None else read,
        cache_write=base if written is None else written,
        output=output,
        reasoning=output if hidden is None else hidden,
        request=Decimal(0) if request is None else request / 1000,
    )
