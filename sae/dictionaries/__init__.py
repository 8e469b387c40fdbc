"""Sparse autoencoders: one module per architecture behind one interface, and their files."""

from sae.dictionaries.base import Dictionary
from sae.dictionaries.files import export_dictionary, load_dictionary, read_manifest, save_dictionary
from sae.dictionaries.registry import ARCHITECTURES
from sae.dictionaries.relu_l1 import ReluL1

__all__ = [
    "ARCHITECTURES",
    "Dictionary",
    "ReluL1",
    "export_dictionary",
    "load_dictionary",
    "read_manifest",
    "save_dictionary",
]
