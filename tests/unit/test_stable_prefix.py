"""What is the same in all requests comes first, measured: how much of a request a prefix cache can answer.

Providers and local servers keep the work of a prompt's beginning, as far as it equals, byte for byte, that of an
earlier prompt. So the requests of many units are written out as servers read them, and their common beginning is
measured: over units it must hold the instructions and examples, and within a unit its explanation too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import takewhile
from typing import Any

import numpy as np
import pytest

from autointerp.pipeline import Method
from autointerp.presets import OPENAI, TM, Preset
from autointerp.protocols import ChatRequest, EchoRequest, Message
from autointerp.providers.anthropic_requests import message_body
from autointerp.providers.prompt_formats import FORMATS, render
from autointerp.types import ActivationRecord, ExplainSplit, Stratum
from tests.support.method import ScriptedModel, explanation, make_record, make_statistics, unit

UNITS = 12
PRESETS = {preset.name: preset for preset in (OPENAI, TM)}
# Characters outside ASCII, long and short tokens, some of ours: what units differ in is not only letters.
WORDS = [" the", " of", "ing", "\n", "0", " été", "<end>", " Wörter", " a", ",", " transformer", "_id", " \u05d0"]

Requests = list[ChatRequest | EchoRequest]
Form = Callable[[Sequence[Message]], str]


def records(rng: np.random.Generator, window: int, strata: Sequence[Stratum]) -> list[ActivationRecord]:
    made = []
    for number, stratum in enumerate(strata):
        tokens = rng.choice(WORDS, window).tolist()
        values = rng.exponential(size=window) * (rng.random(window) < 0.15)
        values[window // 2] = 5.0
        made.append(make_record(tokens, values, stratum, number=int(rng.integers(10**6)) + number))
    return made


def explaining(preset: Preset) -> list[Requests]:
    """A list for each unit: the one request of the explainer."""
    method, model = Method.of(preset), ScriptedModel(seed=True)
    every = [Stratum(code) for code in (0, *range(1, 14), 100, 101)]
    sizes = {"tm": (9, every * 3), "openai": (64, [Stratum.TOP] * 5)}
    window, strata = sizes[preset.name]
    found: list[Requests] = []
    for number in range(UNITS):
        rng = np.random.default_rng(number)
        split = ExplainSplit(tuple(records(rng, window, strata)))
        logits = [(token, 1.0) for token in rng.choice(WORDS, 10).tolist()]
        statistics = make_statistics(top_logits=tuple(logits), bottom_logits=tuple(logits[::-1]))
        found.append([method.explainer.request(unit(number), split, statistics, model, 0)])  # type: ignore[attr-defined]
    return found


def simulating(preset: Preset, simulator: str, per_prompt: int) -> list[Requests]:
    """A list for each unit: the requests over its contexts."""
    changed = preset.with_settings({"simulator": simulator, "contexts_per_prompt": per_prompt})
    method, model = Method.of(changed), ScriptedModel(json_mode=True)
    window = {"tm": 9, "openai": 64}[preset.name]
    found: list[Requests] = []
    for number in range(UNITS):
        rng = np.random.default_rng(number)
        contexts = [record.context for record in records(rng, window, [Stratum.TOP] * 12)]
        said = explanation(f"{rng.choice(['words', 'dates', 'été', 'code'])} of kind {number}")
        found.append(method.simulator.requests(said, contexts, model))  # type: ignore[attr-defined]
    return found


CASES: dict[str, Callable[[], list[Requests]]] = {
    **{f"{name}-explain": cache(partial(explaining, preset)) for name, preset in PRESETS.items()},
    **{
        f"{name}-{simulator}-{size}": cache(partial(simulating, preset, simulator, size))
        for name, preset in PRESETS.items()
        for simulator in ("all_at_once", "json")
        for size in (1, 4)
    },
}


def wire(messages: Sequence[Message]) -> str:
    """The messages as the field of a hosted API's request: one JSON array."""
    return json.dumps([{"role": one.role, "content": one.content} for one in messages], ensure_ascii=False)


# As a hosted API is sent them, and as a server that takes one text.
FORMS: dict[str, Form] = {"wire": wire, **FORMATS}
forms = pytest.mark.parametrize("form", FORMS)
START = "\N{SNOWMAN}"  # in no prompt


def written(request: ChatRequest | EchoRequest, form: str) -> str:
    """The request as it is read: a conversation, or a text whose last message is left open."""
    if isinstance(request, EchoRequest) and form in FORMATS:
        return render(form, request.messages)[0]
    return FORMS[form](request.messages)


def stable(request: ChatRequest | EchoRequest) -> tuple[Message, ...]:
    """The instructions and examples: what comes before the last user message."""
    last = max(place for place, message in enumerate(request.messages) if message.role == "user")
    return request.messages[:last]


@forms
@pytest.mark.parametrize("case", CASES)
def test_instructions_and_examples_come_first_and_are_the_same_for_all_units(case: str, form: str) -> None:
    requests = [request for one in CASES[case]() for request in one]
    (same,) = {stable(request) for request in requests}
    assert len(same) > 2
    beginning, _, _ = FORMS[form]([*same, Message("user", START)]).partition(START)
    common = shared(requests, form)
    assert common.startswith(beginning)
    # What comes after is the unit's: nothing but some opening words can be common.
    assert len(common) - len(beginning) < 60


@forms
@pytest.mark.parametrize("case", [case for case in CASES if "explain" not in case])
def test_within_a_unit_the_explanation_comes_before_the_contexts(case: str, form: str) -> None:
    for number, requests in enumerate(CASES[case]()):
        assert len(requests) > 1
        assert f"of kind {number}" in shared(requests, form)


# Measured, and rounded down: share of a request's characters that are a beginning common to all units' requests.
SHARES = {
    "openai-explain": 0.44,
    "openai-all_at_once-1": 0.63,
    "openai-all_at_once-4": 0.31,
    "openai-json-1": 0.80,
    "openai-json-4": 0.50,
    "tm-explain": 0.61,
    "tm-all_at_once-1": 0.89,
    "tm-all_at_once-4": 0.73,
    "tm-json-1": 0.96,
    "tm-json-4": 0.87,
}


@pytest.mark.parametrize("case", CASES)
def test_the_share_of_a_request_that_a_prefix_cache_can_answer_does_not_fall(case: str) -> None:
    requests = [request for one in CASES[case]() for request in one]
    share = len(shared(requests, "wire")) / np.mean([len(written(request, "wire")) for request in requests])
    assert share >= SHARES[case]


@pytest.mark.parametrize("case", [case for case in CASES if "all_at_once" not in case])
def test_the_mark_for_anthropics_cache_is_where_the_common_part_ends(case: str) -> None:
    """All blocks up to the mark are the same for all units, and no block after it is."""
    bodies = [message_body(request) for one in CASES[case]() for request in one if isinstance(request, ChatRequest)]
    cached, rest = zip(*(split_at_mark(body) for body in bodies), strict=True)
    assert len({json.dumps(blocks) for blocks in cached}) == 1
    assert len(cached[0]) > 2
    assert {len(blocks) for blocks in rest} == {1}
    assert len({json.dumps(blocks) for blocks in rest}) == len(bodies)


def split_at_mark(body: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The content blocks in the order in which the vendor reads them: up to the one mark, and after it."""
    blocks = body["system"] + [block for message in body["messages"] for block in message["content"]]
    (mark,) = [place for place, block in enumerate(blocks) if "cache_control" in block]
    return blocks[: mark + 1], blocks[mark + 1 :]


def shared(requests: Requests, form: str) -> str:
    """The beginning that all have in common: that of the first and the last in the order of text."""
    texts = [written(request, form) for request in requests]
    pairs = zip(min(texts), max(texts), strict=False)
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
