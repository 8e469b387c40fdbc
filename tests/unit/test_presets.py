"""Presets: the papers' constants, changes by name, and what differs from the paper said aloud."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autointerp import registry
from autointerp.errors import BadJob
from autointerp.pipeline import Method
from autointerp.presets import OPENAI, SETTINGS, TM, Preset
from autointerp.types import Scale

BOTH = pytest.mark.parametrize("preset", [OPENAI, TM], ids=lambda preset: preset.name)


def test_openai_has_the_papers_constants() -> None:
    """LMEN: 64 tokens, 5 records a split, top for the explanation, top and random for the score, 0-10, Pearson."""
    assert OPENAI.splits.window == 64
    assert OPENAI.splits.order == "interleaved"
    assert OPENAI.splits.explain == {"top": 5}
    assert OPENAI.splits.calibrate == OPENAI.splits.score == OPENAI.splits.test == {"top": 5, "random": 5}
    assert OPENAI.splits.size("explain") * 4 == 20
    assert (OPENAI.explainer, OPENAI.simulator) == ("token_activation", "all_at_once")
    assert OPENAI.scale is Scale.LEVELS_10
    assert OPENAI.contexts_per_prompt == 1
    assert OPENAI.primary_metric == "pearson"
    assert OPENAI.sample_sets == ("top_and_random", "random_only")
    assert (OPENAI.explainer_temperature, OPENAI.explainer_max_tokens) == (1.0, 60)
    assert not OPENAI.constant_prediction_is_zero


def test_tm_has_the_papers_constants() -> None:
    """TM: windows of 9; 49 examples in, 60 out, all in one prompt; 0-9; Spearman; fewer than 20 are dropped."""
    assert TM.splits.window == 9
    assert TM.splits.size("explain") == 49
    assert TM.splits.size("score") == 60
    assert TM.splits.explain == {"top": 10, "slices": 2, "random": 5, "out_of_context": 10}
    assert TM.splits.score == {"top": 6, "slices": 2, "random": 10, "out_of_context": 20}
    assert TM.splits.minimum == 20
    assert TM.explainer == "interval"
    assert TM.scale is Scale.LEVELS_9
    assert TM.contexts_per_prompt == 60
    assert TM.explainer_few_shot == 8
    assert TM.metrics[:2] == ("spearman", "pearson")
    assert TM.sample_sets == ("all",)
    assert TM.constant_prediction_is_zero


@BOTH
def test_a_preset_can_be_built_and_changes_nothing_of_the_paper(preset: Preset) -> None:
    assert preset.changed() == {}
    assert registry.find("presets", preset.name) is preset
    assert Method.of(preset).preset is preset


@BOTH
def test_settings_change_by_name_and_are_said(preset: Preset) -> None:
    changed = preset.with_settings({"simulator": "json", "contexts_per_prompt": 6, "explainer_few_shot": 2})
    assert (changed.simulator, changed.contexts_per_prompt, changed.explainer_few_shot) == ("json", 6, 2)
    assert changed.changed() == {
        "simulator": {"paper": "all_at_once", "used": "json"},
        "contexts_per_prompt": {"paper": preset.contexts_per_prompt, "used": 6},
        "explainer_few_shot": {"paper": preset.explainer_few_shot, "used": 2},
    }
    assert preset.changed() == {}


def test_a_change_of_a_change_is_still_compared_with_the_paper() -> None:
    twice = OPENAI.with_settings({"scale": "0-9"}).with_settings({"explainer_temperature": 0})
    assert twice.scale is Scale.LEVELS_9
    assert twice.changed() == {
        "scale": {"paper": "0-10", "used": "0-9"},
        "explainer_temperature": {"paper": 1.0, "used": 0.0},
    }
    assert twice.with_settings({"scale": "0-10", "explainer_temperature": 1.0}).changed() == {}


def test_none_stands_for_a_temperature_that_is_not_sent_and_for_nothing_else() -> None:
    changed = OPENAI.with_settings({"explainer_temperature": "none", "simulator_temperature": "none"})
    assert (changed.explainer_temperature, changed.simulator_temperature) == (None, None)
    assert changed.changed()["explainer_temperature"] == {"paper": 1.0, "used": None}
    with pytest.raises(BadJob, match="minimum_share: "):
        OPENAI.with_settings({"minimum_share": "none"})


def test_splits_change_key_by_key() -> None:
    changed = TM.with_settings({"splits": {"score": {"top": 3, "random": 5}, "minimum": 5}})
    assert changed.splits.score == {"top": 3, "random": 5}
    assert changed.splits.explain == TM.splits.explain
    assert changed.changed() == {
        "splits.minimum": {"paper": 20, "used": 5},
        "splits.score.out_of_context": {"paper": 20, "used": None},
        "splits.score.random": {"paper": 10, "used": 5},
        "splits.score.slices": {"paper": 2, "used": None},
        "splits.score.top": {"paper": 6, "used": 3},
    }
    json.dumps(changed.changed(), allow_nan=False)


@BOTH
def test_all_settings_are_json_and_take_their_own_values_back(preset: Preset) -> None:
    settings = json.loads(json.dumps(preset.settings()))
    assert set(settings) == set(SETTINGS)
    again = preset.with_settings(settings)
    assert again == preset
    assert again.changed() == {}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"contexts": 6}, "preset openai: unknown setting 'contexts': known are .*contexts_per_prompt"),
        ({"name": "mine"}, "unknown setting 'name'"),
        ({"original": None}, "unknown setting 'original'"),
        ({"contexts_per_prompt": "6"}, "contexts_per_prompt: .*integer.*'6'"),
        ({"contexts_per_prompt": True}, "contexts_per_prompt: .*integer.*True"),
        ({"contexts_per_prompt": 0}, "contexts_per_prompt: at least 1"),
        ({"explainer_few_shot": -1}, "explainer_few_shot: at least 0"),
        ({"minimum_share": 0}, "minimum_share: above 0"),
        ({"minimum_share": 1.5}, "minimum_share: above 0 and at most 1"),
        ({"scale": "0-5"}, "scale: .*'0-9' or '0-10'"),
        ({"scale": "raw"}, "scale: prompts show levels"),
        ({"metrics": []}, "metrics: at least one"),
        ({"metrics": "pearson"}, "metrics: .*'pearson'"),
        ({"explainer_temperature": float("nan")}, "explainer_temperature: "),
        ({"explainer_temperature": -1}, "a temperature is at least 0"),
        ({"explainer_temperature": object()}, "explainer_temperature: "),
        ({"splits": 3}, "splits: a table with keys among window, explain"),
        ({"splits": {"windows": 9}}, "splits: a table with keys among window, explain"),
        ({"splits": {"window": 0}}, "splits: a window has at least 1 token"),
        ({"splits": {"window": "9"}}, r"splits\.window: .*integer"),
        ({"splits": {"score": {"tops": 5}}}, "splits: unknown pool 'tops'"),
    ],
)
def test_a_bad_setting_is_one_clear_line(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadJob, match=complaint) as caught:
        OPENAI.with_settings(settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"explainer": "horoscope"}, "unknown explainer 'horoscope': known are interval, token_activation"),
        ({"simulator": "dice"}, "unknown simulator 'dice'"),
        ({"scorer": "vibes"}, "unknown scorer 'vibes'"),
        ({"baselines": ["oracle"]}, "unknown baseline 'oracle': known are token_lookup, constant"),
        ({"metrics": ["accuracy"]}, "unknown metric 'accuracy'"),
        ({"sample_sets": ["best"]}, "unknown sample set 'best'"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_when_the_method_is_built(
    settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadJob, match=complaint):
        Method.of(OPENAI.with_settings(settings))
