"""Duplicates: documents that are the same but for letter case and white space, and boilerplate paragraphs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

MIN_PARAGRAPH_CHARS = 200  # shorter paragraphs may repeat: they are language, not boilerplate
MIN_DOCUMENT_CHARS = 64

_LINE_MARK = re.compile(r"(?m)^[\s>|#*/;!.\-\"\\]+")
_SPACES = re.compile(r"\s+")


def normal_form(text: str) -> str:
    """What two documents must share to be the same document: letter case and white space do not count."""
    return _SPACES.sub(" ", text).strip().casefold()


def document_hash(text: str) -> bytes:
    """32 bytes: sha256 of the normal form. Equal for exact duplicates; also chooses the split."""
    return hashlib.sha256(normal_form(text).encode()).digest()


def _paragraph_key(paragraph: str) -> bytes:
    # Quotation and comment marks at line starts do not make boilerplate new.
    words = normal_form(_LINE_MARK.sub("", paragraph))
    return hashlib.blake2b(words.encode(), digest_size=8).digest()


@dataclass(slots=True)
class Sieve:
    """Lets each document pass once, without the long paragraphs that an earlier document had; counts the rest.

    A paragraph is known by a 64-bit key: among ten million, a false match has a chance of about 3 in a million.
    """

    documents: int = 0
    paragraphs: int = 0
    paragraph_characters: int = 0
    too_short: int = 0
    _seen_documents: set[bytes] = field(default_factory=set)
    _seen_paragraphs: set[bytes] = field(default_factory=set)

    def sift(self, text: str) -> str | None:
        """What is new of a document, or None: it is a duplicate, or fewer than 64 characters are left."""
        if self._is_repeated(text):
            return None
        rest = self._drop_seen_paragraphs(text)
        if len(rest) < MIN_DOCUMENT_CHARS:
            self.too_short += 1
            return None
        return None if rest != text and self._is_repeated(rest) else rest

    def _is_repeated(self, text: str) -> bool:
        key = document_hash(text)
        repeated = key in self._seen_documents
        self._seen_documents.add(key)
        self.documents += repeated
        return repeated

    def _drop_seen_paragraphs(self, text: str) -> str:
        kept: list[str] = []
        for paragraph in text.split("\n\n"):
            if len(paragraph) >= MIN_PARAGRAPH_CHARS:
                key = _paragraph_key(paragraph)
                if key in self._seen_paragraphs:
                    self.paragraphs += 1
                    self.paragraph_characters += len(paragraph)
                    continue
                self._seen_paragraphs.add(key)
            kept.append(paragraph)
        return "\n\n".join(kept).strip("\n")
