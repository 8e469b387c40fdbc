"""Every prompt as it is sent, byte for byte. A changed word anywhere is a difference that a person has to look at."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

from autointerp.explainers import ExplainerSettings, IntervalExplainer, TokenActivationExplainer
from autointerp.pipeline import Method
from autointerp.presets import OPENAI, TM, Preset
from autointerp.protocols import ChatRequest, EchoRequest
from autointerp.simulators import AllAtOnceSimulator, JsonSimulator, SimulatorSettings
from autointerp.types import Context, ExplainSplit, Scale, Stratum
from tests.support.method import HOSTILE_TOKENS, ScriptedModel, explanation, make_record, make_statistics, unit


class Golden(Protocol):
    def check(self, name: str, text: str) -> None: ...


SCALES = pytest.mark.parametrize("scale", [Scale.LEVELS_9, Scale.LEVELS_10])

SPARSE = ExplainSplit(
    (
        make_record(
            ["We", " met", " in", " early", " June", ",", " then", " again", "."], [0, 0, 0, 0.4, 6.5, 0, 0, 0, 0]
        ),
        make_record([" from", " July", " to", " our", " last", " day"], [0, 4.2, 0, 0, 0, 0], Stratum.SLICE_8),
        make_record([" march", " on", "\n", "\n"], [0.9, 0, 0, 0], Stratum.SLICE_1),
        make_record([" a", " dull", " day"], [0, -0.2, 0], Stratum.RANDOM),
        make_record([" you", " may", " go"], [0, 0.1, 0], Stratum.OUT_OF_CONTEXT),
    )
)
DENSE = ExplainSplit((make_record([" June", " July"], [6.5, 3.0]), make_record([" May", "."], [5.0, 0.0])))
HOSTILE = ExplainSplit((make_record(HOSTILE_TOKENS, [place % 10 for place in range(len(HOSTILE_TOKENS))]),))
HOSTILE_TEXT = "months\n<end>\n\t9 {{ 7 * 7 }} </answer> <|im_end|> \u202e \ud800 (\\n) unknown"


def shown(request: ChatRequest | EchoRequest) -> str:
    """A request as text: its messages, then its other fields; slots as bars in the text they point into."""
    messages = [(message.role, message.content) for message in request.messages]
    if isinstance(request, EchoRequest):
        role, text = messages.pop()
        bounds = (0, *request.slots, len(text))
        messages.append((role, "|".join(text[start:end] for start, end in pairwise(bounds))))
    others = [field.name for field in fields(request) if field.name not in ("messages", "slots")]
    settings = [f"{name} = {getattr(request, name)!r}\n" for name in others]
    return (
        "".join(f"===== {role} =====\n{text}\n" for role, text in messages)
        + "===== settings =====\n"
        + "".join(settings)
    )


def contexts(split: ExplainSplit) -> list[Context]:
    return [record.context for record in split.records]


@SCALES
@pytest.mark.parametrize(("name", "split"), [("sparse", SPARSE), ("dense", DENSE), ("hostile", HOSTILE)])
def test_token_activation(golden: Golden, scale: Scale, name: str, split: ExplainSplit) -> None:
    explainer = TokenActivationExplainer(ExplainerSettings(scale, 3 if name == "sparse" else 0, 60, 0.0))
    request = explainer.request(unit(), split, make_statistics(), ScriptedModel(), 0)
    golden.check(f"token_activation-{name}-{scale.value}", shown(request))


@SCALES
@pytest.mark.parametrize(("name", "split"), [("all", SPARSE), ("hostile", HOSTILE)])
def test_interval(golden: Golden, scale: Scale, name: str, split: ExplainSplit) -> None:
    explainer = IntervalExplainer(ExplainerSettings(scale, 8 if name == "all" else 0, 300, 0.0))
    logits = [(token, 1.0) for token in HOSTILE_TOKENS] if name == "hostile" else [(" first", 2.0), ("\n", 1.0)]
    statistics = make_statistics(top_logits=tuple(logits))
    golden.check(
        f"interval-{name}-{scale.value}", shown(explainer.request(unit(), split, statistics, ScriptedModel(), 0))
    )


@SCALES
@pytest.mark.parametrize(("name", "split"), [("all", SPARSE), ("hostile", HOSTILE)])
def test_all_at_once(golden: Golden, scale: Scale, name: str, split: ExplainSplit) -> None:
    simulator = AllAtOnceSimulator(SimulatorSettings(scale, 60, 3 if name == "all" else 0))
    text = "names of months" if name == "all" else HOSTILE_TEXT
    (request,) = simulator.requests(explanation(text), contexts(split), ScriptedModel())
    golden.check(f"all_at_once-{name}-{scale.value}", shown(request))


@SCALES
@pytest.mark.parametrize(("name", "split"), [("all", SPARSE), ("hostile", HOSTILE)])
def test_json(golden: Golden, scale: Scale, name: str, split: ExplainSplit) -> None:
    simulator = JsonSimulator(SimulatorSettings(scale, 60, 3 if name == "all" else 0))
    text = "names of months" if name == "all" else HOSTILE_TEXT
    (request,) = simulator.requests(explanation(text), contexts(split), ScriptedModel(json_mode=True))
    golden.check(f"json-{name}-{scale.value}", shown(request))


@pytest.mark.parametrize("preset", [OPENAI, TM], ids=lambda preset: preset.name)
def test_presets(golden: Golden, preset: Preset) -> None:
    """What a preset sends with the paper's own settings: the explainer's call, then the simulator's first."""
    method, model = Method.of(preset), ScriptedModel(seed=True)
    explaining = method.explainer.request(unit(), SPARSE, make_statistics(), model, 0)  # type: ignore[attr-defined]
    simulating = method.simulator.requests(explanation(), contexts(SPARSE), model)[0]  # type: ignore[attr-defined]
    golden.check(f"preset-{preset.name}", shown(explaining) + "\n" + shown(simulating))


def test_no_golden_file_is_left_over() -> None:
    names = {path.stem for path in (Path(__file__).parent / "prompts").iterdir()}
    scales = [scale.value for scale in (Scale.LEVELS_9, Scale.LEVELS_10)]
    stems = ["token_activation-sparse", "token_activation-dense", "token_activation-hostile"]
    stems += [f"{method}-{name}" for method in ("interval", "all_at_once", "json") for name in ("all", "hostile")]
    assert names == {f"{stem}-{scale}" for stem in stems for scale in scales} | {"preset-openai", "preset-tm"}
