"""Message catalogues of translated programs (.mo)."""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.types import Piece, Unreadable, read_bytes


class _Catalogue(gettext.GNUTranslations):
    """GNUTranslations with its messages in the open: the standard library has no public way to list them."""

    def messages(self) -> list[str]:
        catalogue: dict[object, str] = self._catalog  # type: ignore[attr-defined]
        return [text for key, text in catalogue.items() if key != "" and text]


def extract_mo(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """The translations of a catalogue, one a line; tildes that mark a keyboard shortcut are dropped."""
    try:
        messages = _Catalogue(io.BytesIO(read_bytes(path))).messages()
    except (OSError, UnicodeDecodeError, LookupError) as error:
        raise Unreadable(f"{path.name}: {error}") from error
    yield Piece("", "\n".join(text.replace("~", "") for text in messages))
