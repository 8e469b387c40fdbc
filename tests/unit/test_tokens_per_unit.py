"""The benchmark of tokens counts what is sent: by hand on a small unit, one token for each character."""

from __future__ import annotations

import pytest

from autointerp.presets import OPENAI
from autointerp.protocols import Message
from autointerp.simulators import AllAtOnceSimulator, JsonSimulator, SimulatorSettings
from autointerp.types import Context, Scale, Stratum
from tests.benchmarks.tokens_per_unit import NAIVE, PER_MESSAGE, Case, Counter, measure, naive, shared, simulated
from tests.support.method import ScriptedModel, explanation, make_record, make_unit_record

CONTEXTS = [Context(("ab", "c", "d"), "one", "prose", 0), Context(("e", "fg"), "two", "prose", 9)]
SETTINGS = SimulatorSettings(Scale.LEVELS_9, 1, 0)


def characters(text: str) -> float:
    return len(text)


def test_one_token_a_call_asks_for_the_text_up_to_each_token() -> None:
    requests = AllAtOnceSimulator(SETTINGS).requests(explanation(), CONTEXTS, ScriptedModel())
    found = naive(requests, Counter(characters))
    head = sum(len(message.content) + PER_MESSAGE for message in requests[0].messages[:-1])
    first = ["<start>\nab\t", "<start>\nab\tunknown\nc\t", "<start>\nab\tunknown\nc\tunknown\nd\t"]
    second = ["<start>\ne\t", "<start>\ne\tunknown\nfg\t"]
    assert found.calls == found.completion == 5
    assert found.prompt == 5 * (head + PER_MESSAGE) + sum(map(len, first + second))
    # Each prompt begins with the one before; the second text shares its first line with the first.
    known = [first[0], first[1], "<start>\n", second[0]]
    assert found.prefix == 4 * (head + PER_MESSAGE) + sum(map(len, known))


def test_a_json_reply_is_counted_and_a_shared_call_shares_its_beginning() -> None:
    one, two = (
        JsonSimulator(SimulatorSettings(Scale.LEVELS_9, size, 0)).requests(explanation(), CONTEXTS, ScriptedModel())
        for size in (1, 2)
    )
    alone, packed = (simulated(requests, Counter(characters)) for requests in (one, two))
    assert (alone.calls, packed.calls) == (2, 1)
    assert alone.completion == len('{"0:ab":0,"1:c":0,"2:d":0}') + len('{"0:e":0,"1:fg":0}')
    assert packed.completion == len('{"0:ab":0,"1:c":0,"2:d":0,"3:e":0,"4:fg":0}')
    assert packed.prefix == 0
    stable = len(one[0].messages[0].content) + PER_MESSAGE
    assert alone.prefix == stable + len('The unit responds to: words for months\nText 1: ["0:') + PER_MESSAGE
    assert alone.cached == (alone.prefix if alone.prefix >= 1024 else 0)


def test_conversations_share_messages_and_the_beginning_of_the_next() -> None:
    first = [Message("system", "a"), Message("user", "bcd")]
    assert shared([], first) == []
    assert shared(first, first) == first
    assert shared(first, [Message("system", "a"), Message("user", "bcX"), Message("user", "d")]) == [
        Message("system", "a"),
        Message("user", "bc"),
    ]
    assert shared(first, [Message("user", "a")]) == []


def test_every_way_is_compared_with_the_naive_one() -> None:
    records = [make_record(["a", "b", "c"], [0, 1, 2], Stratum.TOP, number=n) for n in range(10)]
    case = Case(make_unit_record(records[:5], records), explanation("dates"), explanation("words"))
    found = measure(OPENAI, [case, case], characters)
    assert found["units"] == 2
    assert found["explanation"]["calls"] == 1
    assert found[NAIVE]["simulation"]["calls"] == 30
    assert found[NAIVE]["control"]["of_naive"] == 1
    ways = [found[f"all_at_once, {size} a call"]["simulation"] for size in (1, 5, 10)]
    assert [way["calls"] for way in ways] == [10, 2, 1]
    assert 1 > ways[0]["of_naive"] > ways[1]["of_naive"] > ways[2]["of_naive"] > 0
    assert ways[0]["of_naive"] == pytest.approx(ways[0]["price"] / found[NAIVE]["simulation"]["price"], abs=1e-3)
