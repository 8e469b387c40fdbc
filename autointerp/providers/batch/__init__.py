"""The vendors' batch APIs: the same requests and replies as live calls, hours later and at half the price."""

from autointerp.providers.batch.forgetting import SHORT_TOKEN, batch_named, forget_batch, forgettable
from autointerp.providers.batch.queue import BatchQueue, BatchSettings, InBatches
from autointerp.providers.batch.service import BatchService, HasBatches

__all__ = [
    "SHORT_TOKEN",
    "BatchQueue",
    "BatchService",
    "BatchSettings",
    "HasBatches",
    "InBatches",
    "batch_named",
    "forget_batch",
    "forgettable",
]
