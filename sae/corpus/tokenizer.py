"""Tokenizers: training a byte-level BPE, telling tokenizers apart, and how each token is shown to people."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sae.errors import BadInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EOT = 0
EOT_TEXT = "<|endoftext|>"
N_BYTES = 256
_BYTE = re.compile("<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class TextTokenizer:
    """What makes the tokens of a corpus. eot: the id that is put after each document.

    Text is only text to it: what spells a special token is encoded as those characters, nothing is put around a text,
    cut off or filled up, whatever the tokenizer's file asks for.
    """

    tokenizer: Tokenizer
    eot: int

    def __post_init__(self) -> None:
        self.tokenizer.encode_special_tokens = True
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    @property
    def vocab_size(self) -> int:
        """Token ids are below it."""
        return max(self.tokenizer.get_vocab().values()) + 1

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def tokenizer_fingerprint(tokenizer: Tokenizer) -> str:
    """First 16 hex digits of the sha256 of what a tokenizer's ids mean: each id's entry, and the merges in their order.

    Not of its file, which versions of the library write differently: they order entries, spell merges and name the
    parts around the model in ways of their own.
    """
    entries = sorted((index, text) for text, index in tokenizer.get_vocab().items())
    merges = json.loads(tokenizer.to_str())["model"].get("merges", [])
    return hashlib.sha256(json.dumps([entries, merges]).encode()).hexdigest()[:16]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of `vocab_size` entries (GPT-2's splitting of words); entry 0 is the end of a text.

    Deterministic for the same texts in the same order. The end-of-text entry is an ordinary entry that no text reaches,
    not a "special token": a text that holds the characters `<|endoftext|>` is tokenised as those characters, so
    corpus text cannot end a document. Raises BadInput if the texts are too few for that many entries.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocab_size <= N_BYTES + 1:
        raise BadInput(
            f"a vocabulary of {vocab_size} entries: it needs more than {N_BYTES + 1} (every byte and the end of a text)"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOT_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    if (reached := tokenizer.get_vocab_size()) < vocab_size:
        raise BadInput(
            f"the text gives only {reached} vocabulary entries of the {vocab_size} asked; "
            "add text or ask for fewer with --vocab-size"
        )
    return _without_special_tokens(tokenizer)


def _without_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(state))


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 characters stand for themselves, other bytes for those from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(N_BYTES) if b not in plain]
    return {chr(b): b for b in plain} | {chr(0x100 + i): b for i, b in enumerate(others)}


def display_vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Text of each entry by id; bytes that are no UTF-8 on their own appear as \\xNN, ids without an entry as "".

    Raises BadInput for a tokenizer that is neither a byte-level one nor one of SentencePiece.
    """
    state = json.loads(tokenizer.to_str())
    spell = _spelling(state)
    added = {entry["id"]: entry["content"] for entry in state["added_tokens"]}  # text as it is, in either kind
    entries = tokenizer.get_vocab()
    shown = [""] * (max(entries.values()) + 1)
    for text, index in entries.items():
        shown[index] = added[index] if index in added else spell(text)
    return shown


def _spelling(state: dict[str, Any]) -> Callable[[str], str]:
    """From an entry to its text, by how the tokenizer itself would decode it."""
    decoder = state["decoder"] or {}
    parts = decoder.get("decoders", [decoder])
    if any(part.get("type") == "ByteLevel" for part in parts):
        alphabet = _byte_of_character()
        return lambda entry: (
            _of_bytes(bytes(map(alphabet.__getitem__, entry))) if alphabet.keys() >= set(entry) else entry
        )
    if any(part.get("type") == "Metaspace" or part.get("pattern") == {"String": "▁"} for part in parts):
        return _of_sentencepiece
    raise BadInput(
        "this tokenizer is neither a byte-level one nor one of SentencePiece; tokens of no other can be shown"
    )


def _of_sentencepiece(entry: str) -> str:
    byte = _BYTE.fullmatch(entry)
    return _of_bytes(bytes.fromhex(byte[1])) if byte else entry.replace("▁", " ")


def _of_bytes(content: bytes) -> str:
    return content.decode("utf-8", errors="backslashreplace")
