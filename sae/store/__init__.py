"""The context store: the folder in which a harvest leaves every unit's contexts. `sae.store.layout` is its format."""

from sae.store.layout import FORMAT, VERSION
from sae.store.writer import StoreWriter, read_manifest

__all__ = ["FORMAT", "VERSION", "StoreWriter", "read_manifest"]
