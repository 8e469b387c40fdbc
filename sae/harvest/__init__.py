"""One pass over a corpus that collects the contexts of every feature and every neuron of a hook."""

from sae.harvest.run import SHUFFLED_CONTROL, Source, harvest
from sae.harvest.settings import HarvestSettings

__all__ = ["SHUFFLED_CONTROL", "HarvestSettings", "Source", "harvest"]
