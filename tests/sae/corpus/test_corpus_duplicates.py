"""The sieve: what counts as the same text, and what is counted."""

from __future__ import annotations

from sae.corpus.duplicates import MIN_PARAGRAPH_CHARS, Sieve, document_hash

BOILERPLATE = "This program is distributed in the hope that it will be useful,\nbut WITHOUT ANY WARRANTY. " * 3
BODY = "A document of its own, long enough to be kept by the sieve: number {}."


def test_case_and_white_space_do_not_make_a_document_new() -> None:
    sieve = Sieve()
    assert sieve.sift(BODY.format(1)) == BODY.format(1)
    assert sieve.sift("  " + BODY.format(1).upper().replace(" ", "\n ")) is None
    assert sieve.sift(BODY.format(2)) == BODY.format(2)
    assert sieve.documents == 1


def test_a_long_paragraph_is_kept_once_whatever_comment_marks_it_bears() -> None:
    sieve = Sieve()
    first = f"{BOILERPLATE}\n\n{BODY.format(1)}"
    commented = "\n".join(" * " + line for line in BOILERPLATE.splitlines())
    assert sieve.sift(first) == first
    assert sieve.sift(f"{BODY.format(2)}\n\n{commented}\n\n{BODY.format(3)}") == f"{BODY.format(2)}\n\n{BODY.format(3)}"
    assert sieve.paragraphs == 1
    assert sieve.paragraph_characters == len(commented)


def test_short_paragraphs_may_repeat() -> None:
    sieve = Sieve()
    short = "x" * (MIN_PARAGRAPH_CHARS - 1)
    for number in range(3):
        text = f"{short}\n\n{BODY.format(number)}"
        assert sieve.sift(text) == text
    assert sieve.paragraphs == 0


def test_what_is_left_of_a_document_can_be_a_duplicate_or_too_short() -> None:
    sieve = Sieve()
    assert sieve.sift(BODY.format(1)) is not None
    assert sieve.sift(f"{BOILERPLATE}\n\n{BODY.format(7)}") is not None
    assert sieve.sift(f"{BOILERPLATE}\n\n{BODY.format(1)}") is None  # a duplicate once the boilerplate is gone
    assert sieve.sift(f"{BOILERPLATE}\n\nshort") is None
    assert (sieve.documents, sieve.too_short) == (1, 1)


def test_documents_that_differ_in_content_have_other_hashes() -> None:
    assert document_hash("a b") == document_hash("A\n\tB ")
    assert document_hash("ab") != document_hash("a b")
