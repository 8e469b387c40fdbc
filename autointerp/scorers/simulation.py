"""Simulate and correlate: how well an explanation predicts the unit's activations on contexts nobody was shown.

Predictions of all tokens of all contexts are put side by side with the raw activations (LMEN: concatenated, not a mean
of scores of contexts). A context whose simulation failed is left out and counted; it is never taken for zeros. The same
code scores simulations of an explanation, of a control and of a baseline, so that they can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autointerp.errors import BadJob
from autointerp.prompting import merge_provenance
from autointerp.protocols import Judgement, LanguageModel, Simulator
from autointerp.seeds import derive
from autointerp.stats import ImportanceScheme, record_weights, score_with_interval, stratum_group, token_weights
from autointerp.types import (
    ActivationRecord,
    Explanation,
    FloatArray,
    Interval,
    Outcome,
    Provenance,
    Reason,
    Role,
    Score,
    Scored,
    Simulation,
    Stratum,
    UnitId,
    UnitRecord,
    UnitStatistics,
    Unscored,
)

__all__ = ["METRICS", "SAMPLE_SETS", "ScoringSettings", "SimulationScorer"]

SAMPLE_SETS: Mapping[str, frozenset[Stratum]] = {
    "all": frozenset(Stratum),
    "top_and_random": frozenset({Stratum.TOP, Stratum.RANDOM}),
    "random_only": frozenset({Stratum.RANDOM}),
}
"""Which records of the score split a score is over, by the stratum they were chosen for."""

# Only correlations: they need no common scale, and predictions are levels where truth is raw.
_CORRELATIONS = ("pearson", "spearman")
_SCHEMES: Mapping[str, ImportanceScheme | None] = {
    "": None,
    "importance_": ImportanceScheme.TM,
    "corpus_": ImportanceScheme.DESIGN,
}
METRICS: Mapping[str, tuple[str, ImportanceScheme | None]] = {
    prefix + name: (name, scheme) for prefix, scheme in _SCHEMES.items() for name in _CORRELATIONS
}
"""Exact names -> correlation and how tokens are weighted: all alike, as TM weighs them ("importance_"), or each by how
many tokens of the corpus it stands for ("corpus_"; OIK asks for scores on the full distribution)."""


@dataclass(frozen=True, slots=True)
class ScoringSettings:
    """Settings of a scorer, of one protocol.

    protocol: first part of the scorers' names ("openai" -> "openai.simulation"). metrics: names of `METRICS`.
    sample_sets: names of `SAMPLE_SETS`; the first adds nothing to the scorer's name, others are its last part.
    minimum_share: least share of contexts that must have been simulated, in (0, 1]. constant_prediction_is_zero: see
    `autointerp.presets.Preset`. resamples, level: of the bootstrap. Raises BadJob for an unknown metric or sample set.
    """

    protocol: str
    metrics: tuple[str, ...]
    sample_sets: tuple[str, ...]
    minimum_share: float = 0.8
    constant_prediction_is_zero: bool = False
    resamples: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        for name, given, options in (("metric", self.metrics, METRICS), ("sample set", self.sample_sets, SAMPLE_SETS)):
            if unknown := [one for one in given if one not in options]:
                raise BadJob(f"preset {self.protocol}: unknown {name} {unknown[0]!r}: known are {', '.join(options)}")


@dataclass(frozen=True, slots=True)
class _Case:
    """What is scored: whose simulations, by which predictor, in which role."""

    predictor: str
    record: UnitRecord
    role: Role
    seed: int
    explanation: Explanation | None
    provenance: tuple[Provenance, ...]


@dataclass(frozen=True, slots=True)
class _Sample:
    """The records of one sample set with what was simulated on them."""

    name: str
    records: tuple[ActivationRecord, ...]
    outcomes: tuple[Simulation | Unscored, ...]

    @property
    def pairs(self) -> list[tuple[ActivationRecord, Simulation]]:
        both = zip(self.records, self.outcomes, strict=True)
        return [(record, outcome) for record, outcome in both if isinstance(outcome, Simulation)]

    @property
    def failures(self) -> list[Unscored]:
        return [outcome for outcome in self.outcomes if isinstance(outcome, Unscored)]


class SimulationScorer:
    """Correlates a simulator's predictions with the raw activations of the score split."""

    name = "simulation"
    version = 1

    def __init__(self, simulator: Simulator, settings: ScoringSettings) -> None:
        self.simulator = simulator
        self.settings = settings

    async def score(
        self, explanation: Explanation, record: UnitRecord, model: LanguageModel, role: Role, seed: int
    ) -> Judgement:
        """See `autointerp.protocols.Scorer`. The simulator is given the contexts alone.

        Raises ProviderRefused, Unsupported and BudgetExceeded, which stop a run.
        """
        outcomes = await self.simulator.simulate(explanation, record.score.contexts, model, seed)
        return self.judge(self.name, outcomes, record, role, seed, explanation)

    def judge(
        self,
        predictor: str,
        outcomes: Sequence[Simulation | Unscored],
        record: UnitRecord,
        role: Role,
        seed: int,
        explanation: Explanation | None = None,
        *,
        metrics: Sequence[str] | None = None,
    ) -> Judgement:
        """The scores of simulations that are already there, one outcome per record of the score split, in order.

        predictor: second part of the scorers' names, such as "simulation" or "token_lookup"; metrics: None means all of
        the settings. Raises ValueError where a simulation is of another context or length than the record in its place.
        """
        for one, outcome in zip(record.score.records, outcomes, strict=True):
            if isinstance(outcome, Simulation):
                _check(one, outcome)
        simulations = tuple(one for one in outcomes if isinstance(one, Simulation))
        written = () if explanation is None else (explanation.provenance,)
        provenance = (*written, *merge_provenance(one.provenance for one in simulations))
        case = _Case(predictor, record, role, seed, explanation, provenance)
        scores = [
            self._score(case, sample, metric)
            for sample in self._samples(record.score.records, outcomes)
            for metric in metrics or self.settings.metrics
        ]
        return Judgement(tuple(scores), simulations)

    def unscored(self, unit: UnitId, role: Role, why: Unscored, predictor: str | None = None) -> Judgement:
        """The scores where nothing could be predicted: no context was attempted, and each score says why."""
        name = predictor or self.name
        scores = [
            Score(unit, self._scorer(name, sample), self.version, metric, why, role, attempted=0, failed=0)
            for sample in self.settings.sample_sets
            for metric in self.settings.metrics
        ]
        return Judgement(tuple(scores))

    def _scorer(self, predictor: str, sample_set: str) -> str:
        name = f"{self.settings.protocol}.{predictor}"
        return name if sample_set == self.settings.sample_sets[0] else f"{name}.{sample_set}"

    def _samples(self, records: Sequence[ActivationRecord], outcomes: Sequence[Simulation | Unscored]) -> list[_Sample]:
        samples = []
        for name in self.settings.sample_sets:
            rows = [row for row, record in enumerate(records) if record.stratum in SAMPLE_SETS[name]]
            samples.append(_Sample(name, tuple(records[row] for row in rows), tuple(outcomes[row] for row in rows)))
        return samples

    def _score(self, case: _Case, sample: _Sample, metric: str) -> Score:
        return Score(
            unit=case.record.unit,
            scorer=self._scorer(case.predictor, sample.name),
            scorer_version=self.version,
            metric=metric,
            outcome=self._outcome(case, sample, metric),
            role=case.role,
            attempted=len(sample.records),
            failed=len(sample.failures),
            explanation=None if case.explanation is None else case.explanation.text,
            provenance=case.provenance,
        )

    def _outcome(self, case: _Case, sample: _Sample, metric: str) -> Outcome:
        if not sample.records:
            return Unscored(Reason.TOO_FEW_CONTEXTS, f"the score split has no records for {sample.name}")
        if len(sample.pairs) < self.settings.minimum_share * len(sample.records):
            return _too_many_failures(sample)
        outcome = self._measured(case, sample, metric)
        constant = isinstance(outcome, Unscored) and outcome.reason is Reason.CONSTANT_PREDICTION
        if not (constant and self.settings.constant_prediction_is_zero):
            return outcome
        # TM counts a constant prediction as 0. It is constant in every resample too, so by that rule each gives 0.
        n_tokens = sum(len(record.context) for record, _ in sample.pairs)
        interval = Interval(0.0, 0.0, self.settings.level, "constant prediction counted as 0")
        return Scored(0.0, interval, len(sample.pairs), n_tokens)

    def _measured(self, case: _Case, sample: _Sample, metric: str) -> Outcome:
        records = [record for record, _ in sample.pairs]
        correlation, scheme = METRICS[metric]
        weights = None if scheme is None else _weights(records, case.record.statistics, scheme)
        if isinstance(weights, Unscored):
            return weights
        return score_with_interval(
            correlation,
            [record.activations for record in records],
            [simulation.expected for _, simulation in sample.pairs],
            clusters=[record.cluster for record in records],
            strata=[stratum_group(record.stratum) for record in records],
            weights=weights,
            seed=derive(case.seed, "bootstrap", str(case.record.unit), sample.name),
            resamples=self.settings.resamples,
            level=self.settings.level,
        )


def _weights(
    records: Sequence[ActivationRecord], statistics: UnitStatistics, scheme: ImportanceScheme
) -> list[FloatArray] | Unscored:
    strata = [record.stratum for record in records]
    if set(strata) == {Stratum.OUT_OF_CONTEXT}:
        return Unscored(Reason.UNDEFINED, "records chosen out of context stand for no part of the corpus")
    focus = [float(record.activations[record.focus]) for record in records]
    return token_weights(record_weights(strata, focus, statistics, scheme), [len(one.context) for one in records])


def _check(record: ActivationRecord, simulation: Simulation) -> None:
    if simulation.context_id != record.context.id or simulation.expected.shape != record.activations.shape:
        raise ValueError(f"a simulation of context {simulation.context_id} does not fit the record {record.context.id}")


def _too_many_failures(sample: _Sample) -> Unscored:
    """The most frequent reason (ties: by name), with how many failed and the first case of it."""
    counts = Counter(one.reason for one in sample.failures)
    reason = min(counts, key=lambda one: (-counts[one], one.value))
    first = next(one for one in sample.failures if one.reason is reason)
    return Unscored(reason, f"{len(sample.failures)} of {len(sample.records)} contexts failed; {first.detail}")
