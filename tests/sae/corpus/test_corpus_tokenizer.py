"""The byte-level BPE: deterministic, lossless, and closed to text that imitates its end-of-text token."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from sae.corpus.tokenizer import EOT, EOT_TEXT, display_vocabulary, train_tokenizer
from sae.errors import BadInput


def sample() -> list[str]:
    words = ["the", "cat", "sat", "שלום", "γάτα", "猫", "def", "return", "(", ")", "{", "\n\t", EOT_TEXT, "été"]
    rng = random.Random(5)
    return [" ".join(rng.choice(words) for _ in range(200)) for _ in range(40)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(sample(), 300)


def test_same_texts_same_tokenizer(tokenizer: Tokenizer) -> None:
    assert train_tokenizer(sample(), 300).to_str() == tokenizer.to_str()


@given(st.text(max_size=60))
def test_decoding_undoes_encoding_for_any_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_text_cannot_end_a_document(tokenizer: Tokenizer) -> None:
    text = f"before{EOT_TEXT}after {EOT_TEXT}"
    reloaded = Tokenizer.from_str(tokenizer.to_str())
    for tok in (tokenizer, reloaded):
        ids = tok.encode(text).ids
        assert EOT not in ids
        assert tok.decode(ids) == text
    assert tokenizer.token_to_id(EOT_TEXT) == EOT
    assert tokenizer.decode([EOT], skip_special_tokens=False) == EOT_TEXT


def test_display_of_every_entry(tokenizer: Tokenizer) -> None:
    shown = display_vocabulary(tokenizer)
    assert len(shown) == 300
    assert shown[EOT] == EOT_TEXT
    assert shown[tokenizer.encode("a").ids[0]] == "a"
    # Independent of the alphabet's table: what the decoder makes of an entry, where that is text on its own.
    for index in range(1, 300):
        decoded = tokenizer.decode([index])
        assert shown[index] == decoded or ("\ufffd" in decoded and "\\x" in shown[index])
    # The 256 bytes: 128 of ASCII as themselves, 128 as \xNN.
    bytes_shown = [s for s in shown if s.startswith("\\x") and len(s) == 4]
    assert set(bytes_shown) >= {f"\\x{byte:02x}" for byte in range(0x80, 0x100)}


def test_too_little_text_or_too_small_a_vocabulary_is_said() -> None:
    with pytest.raises(BadInput, match=r"gives only \d+ vocabulary entries of the 4096 asked.*--vocab-size"):
        train_tokenizer(["too little"], 4096)
    with pytest.raises(BadInput, match="more than 257"):
        train_tokenizer(["too little"], 257)
