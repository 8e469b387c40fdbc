"""The whole method for one unit, on one page: explain it, judge the explanation, a control and the baselines alike.

    method = Method.of(preset)
    method.check(model)                                                  # before anything is spent
    explanation = await explain(method, record, model, seed)
    judgement = await judge(method, record, explanation, Role.EXPLANATION, model, seed)
    other = other_explanation(unit, explanations, seed)
    control = await judge(method, record, other, Role.OTHER_EXPLANATION, model, seed)
    company = baselines(method, record, seed)

What can go wrong with one unit is a value here: an explanation may be `Unscored`, and then so are its scores. Only what
would fail every unit is raised: `ProviderRefused`, `Unsupported` and `BudgetExceeded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from autointerp import registry
from autointerp.errors import BadJob, ProviderError
from autointerp.explainers import ExplainerSettings
from autointerp.presets import Preset
from autointerp.prompting import failed_call
from autointerp.protocols import Explainer, Judgement, LanguageModel, Scorer, Simulator
from autointerp.providers.refusals import no_temperature
from autointerp.scorers import ScoringSettings, SimulationScorer
from autointerp.simulators import BASELINES, SimulatorOnModel, SimulatorSettings
from autointerp.types import Explanation, Reason, Role, UnitId, UnitRecord, Unscored

__all__ = ["Method", "baselines", "explain", "judge", "not_split"]


@runtime_checkable
class ChecksModel(Protocol):
    """A component that needs something special of a model, and can say beforehand whether a model has it."""

    def check(self, model: LanguageModel) -> None: ...


class UnitScorer(Scorer, Protocol):
    """A scorer that can also say, in its own names, that there was nothing to score."""

    def unscored(self, unit: UnitId, role: Role, why: Unscored) -> Judgement: ...


@dataclass(frozen=True, slots=True)
class Method:
    """The components of a preset, ready to use. `bare` scores the baselines, as the simulations are scored."""

    preset: Preset
    explainer: Explainer
    simulator: Simulator
    scorer: UnitScorer
    bare: SimulationScorer

    @classmethod
    def of(
        cls,
        preset: Preset,
        *,
        resamples: int = 1000,
        level: float = 0.95,
        simulator_model: LanguageModel | None = None,
    ) -> Method:
        """The components that a preset names, found in the registry. Raises BadJob where one is not there.

        An explainer is called with its `ExplainerSettings`, a simulator with its `SimulatorSettings`, a scorer with the
        simulator and its `ScoringSettings`, whichever package it comes from. resamples, level: of the intervals.
        simulator_model: what the simulator asks, where it is not the model that the scorer is given.
        """
        explaining = ExplainerSettings(
            preset.scale,
            preset.explainer_few_shot,
            preset.explainer_max_tokens,
            preset.explainer_temperature,
            preset.samples,
        )
        simulating = SimulatorSettings(
            preset.scale,
            preset.contexts_per_prompt,
            preset.simulator_few_shot,
            preset.simulator_temperature,
            preset.samples,
        )
        scoring = ScoringSettings(
            protocol=preset.name,
            metrics=preset.metrics,
            sample_sets=preset.sample_sets,
            minimum_share=preset.minimum_share,
            constant_prediction_is_zero=preset.constant_prediction_is_zero,
            resamples=resamples,
            level=level,
        )
        if unknown := [name for name in preset.baselines if name not in BASELINES]:
            raise BadJob(f"preset {preset.name}: unknown baseline {unknown[0]!r}: known are {', '.join(BASELINES)}")
        simulator = registry.find("simulators", preset.simulator)(simulating)
        if simulator_model is not None:
            simulator = SimulatorOnModel(simulator, simulator_model)
        return cls(
            preset=preset,
            explainer=registry.find("explainers", preset.explainer)(explaining),
            simulator=simulator,
            scorer=registry.find("scorers", preset.scorer)(simulator, scoring),
            bare=SimulationScorer(simulator, scoring),
        )

    def check(
        self,
        explainer_model: LanguageModel,
        simulator_model: LanguageModel | None = None,
        scorer_model: LanguageModel | None = None,
    ) -> None:
        """Raises Unsupported, naming the alternatives, where a model cannot serve its component.

        One model alone serves all three.
        """
        models = (explainer_model, simulator_model or explainer_model, scorer_model or explainer_model)
        for component, model in zip((self.explainer, self.simulator, self.scorer), models, strict=True):
            if isinstance(component, ChecksModel):
                component.check(model)
        temperatures = (self.preset.explainer_temperature, self.preset.simulator_temperature)
        for temperature, model in zip(temperatures, models, strict=False):
            if temperature is not None and not model.capabilities().temperature:
                raise no_temperature(model.provider, model.model)


async def explain(method: Method, record: UnitRecord, model: LanguageModel, seed: int) -> Explanation | Unscored:
    """What the unit is said to respond to, from its explain split and statistics alone."""
    try:
        return await method.explainer.explain(record.unit, record.explain, record.statistics, model, seed)
    except ProviderError as error:
        return failed_call(error)


async def judge(
    method: Method, record: UnitRecord, explanation: Explanation | Unscored, role: Role, model: LanguageModel, seed: int
) -> Judgement:
    """The scores of an explanation on the score split. Where there is none, its scores say why not."""
    if isinstance(explanation, Unscored):
        return method.scorer.unscored(record.unit, role, _without_explanation(explanation))
    try:
        return await method.scorer.score(explanation, record, model, role, seed)
    except ProviderError as error:
        return method.scorer.unscored(record.unit, role, failed_call(error))


def baselines(
    method: Method, record: UnitRecord, seed: int, *, metrics: Sequence[str] | None = None
) -> tuple[Judgement, ...]:
    """The scores of the preset's predictors without an LLM, through the same scorer.

    metrics: some of the preset's metrics only, where many units are scored; None means all.
    """
    contexts = record.score.contexts
    return tuple(
        method.bare.judge(name, BASELINES[name](record.explain, contexts), record, Role.BASELINE, seed, metrics=metrics)
        for name in method.preset.baselines
    )


def not_split(method: Method, unit: UnitId, why: Unscored, role: Role) -> tuple[Judgement, ...]:
    """The scores of a unit that has too few contexts for the protocol: Unscored, in the names they would have had."""
    if role is not Role.BASELINE:
        return (method.scorer.unscored(unit, role, why),)
    return tuple(method.bare.unscored(unit, role, why, predictor) for predictor in method.preset.baselines)


def _without_explanation(why: Unscored) -> Unscored:
    """NO_CONTROL stays; a failed explainer becomes NO_EXPLANATION, with what failed in the detail."""
    if why.reason is Reason.NO_CONTROL:
        return why
    return Unscored(Reason.NO_EXPLANATION, f"{why.reason.value}: {why.detail}" if why.detail else why.reason.value)
