"""The byte-level BPE: deterministic, lossless, and closed to text that imitates its end-of-text token."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tokenizers import as_written_before
from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from sae.corpus.tokenizer import (
    EOT,
    EOT_TEXT,
    TextTokenizer,
    display_vocabulary,
    tokenizer_fingerprint,
    train_tokenizer,
)
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


def changed(tokenizer: Tokenizer, change: Any) -> Tokenizer:
    """A copy whose state `change` has altered."""
    state = json.loads(tokenizer.to_str())
    change(state)
    return Tokenizer.from_str(json.dumps(state))


def test_the_fingerprint_is_of_the_tokens_and_not_of_the_file(tokenizer: Tokenizer) -> None:
    known = tokenizer_fingerprint(tokenizer)
    older = as_written_before(tokenizer)
    assert older != tokenizer.to_str()
    special = Tokenizer.from_str(tokenizer.to_str())
    special.add_special_tokens([EOT_TEXT])  # an entry it has: no other text than before
    special.enable_truncation(8)
    for same in (Tokenizer.from_str(older), special, TextTokenizer(Tokenizer.from_str(older), EOT).tokenizer):
        assert tokenizer_fingerprint(same) == known

    def two_ids_swapped(state: dict[str, Any]) -> None:
        entries = state["model"]["vocab"]
        entries["a"], entries["b"] = entries["b"], entries["a"]

    def two_merges_swapped(state: dict[str, Any]) -> None:
        merges = state["model"]["merges"]
        merges[0], merges[1] = merges[1], merges[0]

    def one_entry_more(state: dict[str, Any]) -> None:
        state["model"]["vocab"]["ab"] = 300

    others = [
        tokenizer_fingerprint(changed(tokenizer, c)) for c in (two_ids_swapped, two_merges_swapped, one_entry_more)
    ]
    assert len({known, *others}) == 4


def test_a_given_tokenizer_takes_text_as_text(tokenizer: Tokenizer) -> None:
    text = f"the cat{EOT_TEXT} sat and sat"
    given = Tokenizer.from_str(tokenizer.to_str())
    given.add_special_tokens([EOT_TEXT])
    given.enable_truncation(4)
    given.enable_padding(length=100)
    before = processors.TemplateProcessing(single=f"{EOT_TEXT} $A", special_tokens=[(EOT_TEXT, EOT)])
    given.post_processor = before
    assert EOT in given.encode("the" + EOT_TEXT).ids
    assert TextTokenizer(given, EOT).encode([text]) == [tokenizer.encode(text).ids]
    assert TextTokenizer(given, EOT).vocab_size == 300


def test_display_of_a_tokenizer_of_sentencepiece_and_of_added_tokens() -> None:
    entries = {"<unk>": 0, "</s>": 1, "<0x0A>": 2, "<0xE2>": 3, "\u2581the": 4, "r\u2581e": 5}
    tokenizer = Tokenizer(models.BPE(entries, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_tokens([AddedToken("\u2581 as it is", special=False)])
    assert display_vocabulary(tokenizer) == ["<unk>", "</s>", "\n", "\\xe2", " the", "r e", "\u2581 as it is"]
    tokenizer.decoder = decoders.Metaspace()
    assert display_vocabulary(tokenizer)[4] == " the"
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(BadInput, match="neither a byte-level one nor one of SentencePiece"):
        display_vocabulary(tokenizer)


def test_ids_without_an_entry_are_shown_as_nothing(tokenizer: Tokenizer) -> None:
    gap = changed(tokenizer, lambda state: state["model"]["vocab"].update({"猫": 302}))
    assert display_vocabulary(gap)[298:] == [*display_vocabulary(tokenizer)[298:], "", "", "猫"]
