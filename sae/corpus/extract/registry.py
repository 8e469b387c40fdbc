"""The one list of extractors. A recipe names them by these keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.base64_lines import extract_base64
from sae.corpus.extract.catalogue import extract_mo
from sae.corpus.extract.email_message import extract_email
from sae.corpus.extract.fortune import extract_fortunes
from sae.corpus.extract.html import extract_html
from sae.corpus.extract.json_entries import extract_json_entries
from sae.corpus.extract.man import extract_man
from sae.corpus.extract.pod import extract_pod
from sae.corpus.extract.strings import extract_json_strings, extract_json_words
from sae.corpus.extract.tables import extract_jsonl, extract_parquet
from sae.corpus.extract.text import extract_front_matter, extract_text
from sae.corpus.extract.types import Piece
from sae.corpus.extract.wordnet import extract_wordnet

Extractor = Callable[[Path, Mapping[str, str]], Iterator[Piece]]

EXTRACTORS: dict[str, Extractor] = {
    "base64": extract_base64,
    "email": extract_email,
    "fortunes": extract_fortunes,
    "front-matter": extract_front_matter,
    "html": extract_html,
    "json-entries": extract_json_entries,
    "json-strings": extract_json_strings,
    "json-words": extract_json_words,
    "jsonl": extract_jsonl,
    "man": extract_man,
    "mo": extract_mo,
    "parquet": extract_parquet,
    "pod": extract_pod,
    "text": extract_text,
    "wordnet": extract_wordnet,
}
