"""Masking, tidying and cutting: tables of what addresses look like, and properties over random text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae.corpus.clean import MASK, cut, mask_emails, mask_local_addresses, tidy

ADDRESSES = [
    "joe@example.org",
    "first.last+tag@sub.example.co.uk",
    "o_n-e%x@ex-ample.com",
    "root@192.168.1.10",
    "root@[192.168.1.10]",
    "josé@example.es",
    "joe%40example.org",
    "joe&#64;example.org",
    "joe at example dot org",
    "joe [at] example [dot] org",
    "joe(at)example.mail(dot)org",
]
NOT_ADDRESSES = [
    "getty@tty1.service",
    "icon@2x.png",
    "react@16.8.0",
    "@property",
    "a @ b.T",
    "meet at noon. The dot is red",
    "user@@VERS_1.1",
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    "frame", ["{}", "write to {} today", "<{}>", "mailto:{}", "({}),", "Ḥ {}\n", '"{}"'], ids=range(7)
)
def test_addresses_are_masked(address: str, frame: str) -> None:
    assert mask_emails(frame.format(address)) == frame.format(MASK)


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_names_with_an_at_sign_stay(text: str) -> None:
    assert mask_emails(text) == text


LOCAL_PART = st.text("abcXYZ019._+-", min_size=1, max_size=12)
HOST = st.lists(st.text("abcxyz09-", min_size=1, max_size=8), min_size=1, max_size=3)


@given(st.text(max_size=40), LOCAL_PART, HOST, st.sampled_from(["org", "com", "uk", "museum"]), st.text(max_size=40))
def test_no_address_survives_in_any_surroundings(
    before: str, local: str, host: list[str], top: str, after: str
) -> None:
    address = f"{local}@{'.'.join(host)}.{top}"
    assert address not in mask_emails(f"{before} {address} {after}")


@given(st.text(alphabet="ab.@-% \n<>", max_size=80))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = mask_emails(text)
    assert mask_emails(once) == once


def test_masking_is_linear_in_long_runs_of_letters() -> None:
    text = "A" * 2_000_000 + "@"
    begun = time.perf_counter()
    assert mask_emails(text) == text
    assert time.perf_counter() - begun < 5  # a quadratic pattern would take hours


def test_local_addresses_of_mail() -> None:
    assert mask_local_addresses("for <jm@localhost>; ok") == f"for <{MASK}>; ok"
    uuencoded = "M<F%C93L@8S1D; @DECORATOR #4@(#$"
    assert mask_local_addresses(uuencoded) == uuencoded


def test_tidy() -> None:
    assert tidy("a\r\nb \t\rc\x00\x07\ufeff\ud800d\n\n\n\n\ne\x1b[33mf\x1b[m\x0cg\n") == "a\nb\ncd\n\nef\ng"


def test_short_texts_stay_whole() -> None:
    assert cut("one\n\ntwo", above=8, size=2) == ["one\n\ntwo"]


def test_cut_at_paragraphs() -> None:
    assert cut("aaaa\n\nbbbb\n\ncc\n\ndd", above=5, size=8) == ["aaaa\n\nbbbb", "cc\n\ndd"]


@given(st.text(alphabet="ab é\n", min_size=1, max_size=600), st.integers(4, 40))
def test_cutting_loses_nothing_and_bounds_the_parts(text: str, size: int) -> None:
    parts = cut(text, above=size, size=size)
    assert "".join("".join(parts).split()) == "".join(text.split())
    if len(text.encode()) > size:
        # a part is closed once it holds `size` bytes; its last unit has at most 2 * size characters of 2 bytes
        assert all(len(part.encode()) < size + 4 * size for part in parts)
        assert all(part.strip() for part in parts)
