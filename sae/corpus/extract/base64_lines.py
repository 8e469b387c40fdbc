"""Any file as the base64 of a MIME attachment: lines of 76 characters."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.clean import mask_emails
from sae.corpus.extract.types import Piece, read_bytes

MAX_INPUT_BYTES = 6_000


def extract_base64(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """The first 6,000 bytes of a file in base64. Text is masked first: an address would survive in the encoding."""
    data = read_bytes(path)
    with contextlib.suppress(UnicodeDecodeError):  # binary: there is no text to mask
        data = mask_emails(data.decode("utf-8")).encode("utf-8")
    yield Piece("", base64.encodebytes(data[:MAX_INPUT_BYTES]).decode("ascii"))
