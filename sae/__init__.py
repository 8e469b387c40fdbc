"""sae: from text to a context store. A subject, a dictionary over one of its hooks, and the contexts of their units.

The public names are loaded when first used, so that `import sae` and every `--help` are quick.
"""

from importlib import import_module
from typing import Any

_ROOMS = {
    "sae.corpus": ("Corpus", "build_corpus", "write_excerpt"),
    "sae.dictionaries": ("Dictionary", "export_dictionary", "load_dictionary", "save_dictionary"),
    "sae.errors": ("BadInput", "SaeError"),
    "sae.harvest": ("HarvestSettings", "harvest"),
    "sae.metrics": ("Metrics", "measure"),
    "sae.subjects": ("Subject", "load_subject", "save_subject", "shuffle_weights"),
    "sae.train": ("TrainConfig", "train"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sae' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
