"""Who serves the LLM, and the ledger of what was asked."""
