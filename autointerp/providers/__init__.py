"""Who serves the LLM, and the ledger of what was asked."""

from autointerp.providers.ledger import Ledger, LedgerStatistics, ModelStatistics
from autointerp.providers.ledger_export import export_jsonl, import_jsonl
from autointerp.providers.model import Counters, LedgeredModel
from autointerp.providers.openai_compatible import OpenAICompatibleProvider
from autointerp.providers.pacing import Accounts, Limits, Pacing
from autointerp.providers.retries import RetryPolicy
from autointerp.providers.scripted import ScriptedProvider

__all__ = [
    "Accounts",
    "Counters",
    "Ledger",
    "LedgerStatistics",
    "LedgeredModel",
    "Limits",
    "ModelStatistics",
    "OpenAICompatibleProvider",
    "Pacing",
    "RetryPolicy",
    "ScriptedProvider",
    "export_jsonl",
    "import_jsonl",
]
