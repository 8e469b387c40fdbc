"""Who serves the LLM, and the ledger of what was asked."""

from autointerp.providers.anthropic_provider import AnthropicProvider
from autointerp.providers.batch import (
    SHORT_TOKEN,
    BatchSettings,
    HasBatches,
    InBatches,
    batch_named,
    forget_batch,
    forgettable,
)
from autointerp.providers.billing import Billing
from autointerp.providers.budget import Budget
from autointerp.providers.checking import Checkable
from autointerp.providers.ledger import Ledger
from autointerp.providers.ledger_export import export_jsonl, import_jsonl
from autointerp.providers.ledger_postgres import postgres_url
from autointerp.providers.ledger_statistics import LedgerStatistics, ModelStatistics, Selection
from autointerp.providers.model import Counters, LedgeredModel
from autointerp.providers.openai_compatible import OpenAICompatibleProvider
from autointerp.providers.openai_provider import OpenAIProvider
from autointerp.providers.pacing import Accounts, Limits, Pacing
from autointerp.providers.planning import KnownCalls, PlanningModel, Tally
from autointerp.providers.prices import HOW_TO_GIVE, GivenPrice, Price, price_of
from autointerp.providers.retries import RetryPolicy
from autointerp.providers.scripted import ScriptedProvider

__all__ = [
    "HOW_TO_GIVE",
    "SHORT_TOKEN",
    "Accounts",
    "AnthropicProvider",
    "BatchSettings",
    "Billing",
    "Budget",
    "Checkable",
    "Counters",
    "GivenPrice",
    "HasBatches",
    "InBatches",
    "KnownCalls",
    "Ledger",
    "LedgerStatistics",
    "LedgeredModel",
    "Limits",
    "ModelStatistics",
    "OpenAICompatibleProvider",
    "OpenAIProvider",
    "Pacing",
    "PlanningModel",
    "Price",
    "RetryPolicy",
    "ScriptedProvider",
    "Selection",
    "Tally",
    "batch_named",
    "export_jsonl",
    "forget_batch",
    "forgettable",
    "import_jsonl",
    "postgres_url",
    "price_of",
]
