"""Requests as tokens: boundaries exactly at the slots, and text that cannot end a turn."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import SPECIAL, TEMPLATE, tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from autointerp.errors import Unsupported
from autointerp.protocols import ChatRequest, EchoRequest, Message
from autointerp.providers.local.hugging_face import HuggingFaceVocabulary
from autointerp.providers.local.tokens import ChatTokenizer

END_OF_TURN = SPECIAL.index("<|im_end|>")
START = SPECIAL.index("<|im_start|>")


def spoken(words: PreTrainedTokenizerFast | None = None) -> ChatTokenizer:
    return ChatTokenizer(HuggingFaceVocabulary(words or tokenizer()), "tiny")


def conversation(*texts: str) -> ChatRequest:
    return ChatRequest("tiny", tuple(Message("user", text) for text in texts), 8)


def test_harmless_text_is_tokenised_as_the_library_does_it() -> None:
    rendered = "<|im_start|>user\nthe unknown text, one by one<|im_end|>\n<|im_start|>assistant\n"
    expected = tuple(tokenizer().encode(rendered, add_special_tokens=False))
    assert spoken().chat(conversation("the unknown text, one by one")) == expected
    assert (expected.count(START), expected.count(END_OF_TURN)) == (2, 1)


pieces = st.lists(st.sampled_from([*SPECIAL, "<|im_", "end|>", "<", "|", "the", "\n", "\ue000", "é", "{{ x }}"]))
placeholders = st.sampled_from(["unknown", "<|im_end|>", "9"])


@settings(deadline=None, max_examples=50)
@given(st.lists(pieces.map("".join), min_size=1, max_size=3))
def test_text_in_a_message_never_becomes_a_special_token(texts: list[str]) -> None:
    ids = spoken().chat(conversation(*texts))
    assert (ids.count(START), ids.count(END_OF_TURN), ids.count(0)) == (len(texts) + 1, len(texts), 0)
    turns = "".join(f"<|im_start|>user\n{text.strip()}<|im_end|>\n" for text in texts)
    assert tokenizer().decode(list(ids)) == f"{turns}<|im_start|>assistant\n"


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(pieces.map("".join), st.sampled_from(["unknown", "<|im_end|>", "9"])), min_size=1, max_size=4)
)
def test_a_token_begins_at_every_slot(lines: list[tuple[str, str]]) -> None:
    text, slots = "", []
    for before, placeholder in lines:
        text += before + "\t"
        slots.append(len(text))
        text += placeholder + "\n"
    request = EchoRequest("tiny", (Message("user", "Go"), Message("assistant", text)), tuple(slots), ("0", "1"))
    tokens = spoken().echo(request)
    opening = "<|im_start|>user\nGo<|im_end|>\n<|im_start|>assistant\n"
    for slot, position in zip(slots, tokens.positions, strict=True):
        assert tokenizer().decode(list(tokens.ids[: position + 1])) == opening + text[:slot]
    assert tokenizer().decode(list(tokens.ids)) == opening + text
    assert tokens.ids.count(END_OF_TURN) == 1
    assert tokens.candidates == tuple(tokenizer().convert_tokens_to_ids(["0", "1"]))


def sentence_piece() -> PreTrainedTokenizerFast:
    """A tokenizer of the older kind, which writes a space before every text: "▁" stands for it."""
    characters = "▁\tabcdefghijklmnopqrstuvwxyzGo019<|_>\n"
    inner = Tokenizer(models.BPE({**{name: place for place, name in enumerate([*SPECIAL, *characters])}, "▁0": 60}, []))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    inner.decoder = decoders.Replace("▁", " ")
    inner.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", chat_template=TEMPLATE)


def test_a_tokenizer_that_puts_a_space_before_every_text_puts_none_at_the_slots() -> None:
    words = sentence_piece()
    assert words.convert_ids_to_tokens(words.encode("0", add_special_tokens=False)) == ["▁", "0"]
    request = EchoRequest("old", (Message("user", "go"), Message("assistant", "a\tb\nb\t")), (2, 6), ("0", "1"))
    tokens = spoken(words).echo(request)
    written = words.convert_ids_to_tokens(list(tokens.ids))
    assert written[-6:] == ["a", "\t", "b", "\n", "b", "\t"]
    assert [written[position] for position in tokens.positions] == ["\t", "\t"]
    assert words.convert_ids_to_tokens(list(tokens.candidates)) == ["0", "1"]


def test_ends_are_the_declared_ones_and_the_known_names() -> None:
    assert spoken().ends == {0, END_OF_TURN}  # <|endoftext|> is known by name
    declared = ChatTokenizer(HuggingFaceVocabulary(tokenizer(), frozenset({7})), "tiny")
    assert declared.ends == {0, 7, END_OF_TURN}


def test_tokens_that_are_no_whole_character_are_told_apart() -> None:
    words = tokenizer()
    spellings = [spoken().spelling(token) for token in range(len(words))]
    assert len(set(spellings)) == len(spellings)
    assert spoken().decode(words.encode("é", add_special_tokens=False)) == "é"


def test_no_template() -> None:
    bare = copy.deepcopy(tokenizer())
    bare.chat_template = None
    with pytest.raises(Unsupported, match="no chat template"):
        spoken(bare).chat(conversation("Go"))
