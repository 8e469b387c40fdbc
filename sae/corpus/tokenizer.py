"""Byte-level BPE: training, and how each token is shown to people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sae.errors import BadInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EOT = 0
EOT_TEXT = "<|endoftext|>"
N_BYTES = 256


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
    import json

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
    """Text of each entry by id; bytes that are no UTF-8 on their own appear as \\xNN."""
    alphabet = _byte_of_character()
    shown: list[str] = [""] * tokenizer.get_vocab_size()
    for text, index in tokenizer.get_vocab().items():
        if index == EOT:
            shown[index] = EOT_TEXT
        else:
            shown[index] = bytes(alphabet[c] for c in text).decode("utf-8", errors="backslashreplace")
    return shown
