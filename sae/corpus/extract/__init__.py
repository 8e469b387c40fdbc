"""Extractors: from a file of a package to plain text, one function per kind of file."""

from sae.corpus.extract.registry import EXTRACTORS, Extractor
from sae.corpus.extract.types import Piece, Unreadable

__all__ = ["EXTRACTORS", "Extractor", "Piece", "Unreadable"]
