"""The most tokens a prompt may count as, which money is set aside by."""

from __future__ import annotations

import math

from provider_samples import chat_request

from autointerp.protocols import ChatRequest, Message
from autointerp.providers.token_estimate import PER_MESSAGE, TokenEstimate
from autointerp.types import Usage

MARKS = 2 * PER_MESSAGE + 16


def conversation(instructions: str, text: str) -> ChatRequest:
    return chat_request(messages=(Message("system", instructions), Message("user", text)))


def counted(request: ChatRequest, tokens_per_byte: float) -> Usage:
    length = sum(len(message.content.encode()) for message in request.messages)
    return Usage(round(length * tokens_per_byte) + 2 * PER_MESSAGE, 1)


def test_what_was_counted_of_prose_sets_no_bound_on_lists_of_tokens() -> None:
    estimate = TokenEstimate()
    prose, tokens = conversation("explain", "a word " * 100), conversation("simulate", "a\t0\n" * 100)
    for _ in range(50):
        estimate.learn(prose, counted(prose, 0.2))
    assert estimate.most(prose) == math.ceil(707 * 0.25) + MARKS  # a quarter more than the densest
    assert estimate.most(tokens) == math.ceil(408 * 0.75) + MARKS  # as before anything was counted


def test_a_few_calls_of_a_sort_never_lower_the_bound_and_may_raise_it() -> None:
    estimate = TokenEstimate()
    request = conversation("simulate", "a\t0\n" * 100)
    first = estimate.most(request)
    for _ in range(4):
        estimate.learn(request, counted(request, 0.5))
        assert estimate.most(request) == first
    estimate.learn(request, counted(request, 0.7))
    assert estimate.most(request) == math.ceil(408 * min(1.0, 1.25 * round(408 * 0.7) / 408)) + MARKS
    estimate.learn(request, counted(request, 2.0))
    assert estimate.most(request) == 408 + MARKS  # no more tokens than bytes


def test_memory_does_not_grow_with_requests_that_have_nothing_in_common() -> None:
    estimate = TokenEstimate()
    for number in range(5000):
        request = conversation(f"question {number}", "text")
        estimate.learn(request, counted(request, 0.3))
    assert len(estimate._counted) == 1000
