"""The types that travel through the house. All are frozen; arrays inside them are read-only.

One unit's way: a context store yields a `UnitRecord` with three disjoint splits of three different types; an
explainer turns the `ExplainSplit` into an `Explanation`; a simulator turns an explanation and bare `Context`s (never
activations) into `Simulation`s; a scorer compares them with the `ScoreSplit` into `Score`s, each of which holds either
a `Scored` or an `Unscored`; a ranking orders `RankedUnit`s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ActivationRecord",
    "CalibrateSplit",
    "Context",
    "ExplainSplit",
    "Explanation",
    "FloatArray",
    "Interval",
    "Kind",
    "Outcome",
    "Provenance",
    "RankedUnit",
    "Reason",
    "Role",
    "Scale",
    "Score",
    "ScoreSplit",
    "Scored",
    "Simulation",
    "Stratum",
    "UnitId",
    "UnitRecord",
    "UnitStatistics",
    "Unscored",
    "Usage",
    "frozen_array",
]

FloatArray: TypeAlias = NDArray[np.float64]


def frozen_array(values: Any) -> FloatArray:
    """A read-only float64 copy of `values` (any shape). Raises ValueError where a value is not finite."""
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("activations must be finite numbers")
    array.setflags(write=False)
    return array


class Kind(StrEnum):
    """What sort of unit is explained."""

    FEATURE = "feature"
    NEURON = "neuron"
    ATTENTION_HEAD = "attention_head"
    DIRECTION = "direction"


@lru_cache(maxsize=256)
def _population(*parts: str) -> str:
    """What the canonical strings of the units of one population begin with."""
    return "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True, slots=True, order=True)
class UnitId:
    """The name of a unit: which subject, which hook, what kind, of which dictionary (features only), which index.

    `str(unit)` is canonical and `UnitId.parse` inverts it: the five parts joined by "/", each percent-encoded so that
    no name can contain the separator; "-" stands for no dictionary.
    """

    subject: str
    hook: str
    kind: Kind
    dictionary: str | None
    index: int

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ValueError(f"a unit's index is not negative: {self.index}")
        if (self.dictionary is None) == (self.kind is Kind.FEATURE):
            raise ValueError(f"a {self.kind} {'needs a' if self.dictionary is None else 'has no'} dictionary")
        if self.dictionary in ("", "-") or not self.subject or not self.hook:
            raise ValueError("a unit's subject, hook and dictionary must have names (and '-' is not one)")

    def __str__(self) -> str:
        return f"{_population(self.subject, self.hook, self.kind.value, self.dictionary or '-')}/{self.index}"

    @classmethod
    def parse(cls, text: str) -> UnitId:
        """The unit of a canonical string. Raises ValueError with the text where it is not one."""
        parts = [unquote(part) for part in text.split("/")]
        if len(parts) != 5 or not (parts[4].isascii() and parts[4].isdigit()):
            raise ValueError(f"not a unit: {text!r} (expected subject/hook/kind/dictionary/index)")
        subject, hook, kind, dictionary, index = parts
        return cls(subject, hook, Kind(kind), None if dictionary == "-" else dictionary, int(index))

    @property
    def file_name(self) -> str:
        """A form that is safe as a file name on every system: letters, digits, '.', '_' and '-' only, and short."""
        digest = hashlib.sha256(str(self).encode()).hexdigest()[:12]
        return f"{self.kind.value}-{self.index}-{digest}"


class Scale(StrEnum):
    """On which scale activations are expressed."""

    RAW = "raw"
    LEVELS_9 = "0-9"  # TM, section "Automated interpretability": quantised to 0..9 inclusive
    LEVELS_10 = "0-10"  # LMEN: min(10, floor(10 * relu(x) / max))

    @property
    def highest(self) -> int:
        """The largest level: 9 or 10. Raises ValueError for RAW, which has none."""
        if self is Scale.RAW:
            raise ValueError("the raw scale has no highest level")
        return 9 if self is Scale.LEVELS_9 else 10


class Stratum(IntEnum):
    """Why a record is in the sample (the codes of the context store)."""

    TOP = 0
    SLICE_0 = 1  # lowest of the 13 equal-width slices of [0, max]
    SLICE_1 = 2
    SLICE_2 = 3
    SLICE_3 = 4
    SLICE_4 = 5
    SLICE_5 = 6
    SLICE_6 = 7
    SLICE_7 = 8
    SLICE_8 = 9
    SLICE_9 = 10
    SLICE_10 = 11
    SLICE_11 = 12
    SLICE_12 = 13  # the top slice, sampled evenly (TOP holds the very highest)
    OUT_OF_CONTEXT = 100
    RANDOM = 101

    @property
    def slice(self) -> int | None:
        """Which of the 13 slices (0 lowest .. 12), or None for the other strata."""
        return self.value - 1 if 1 <= self.value <= 13 else None


@dataclass(frozen=True, slots=True)
class Context:
    """A window of tokens of the corpus. `id` is a hash of its document, position and tokens.

    tokens: display text of each token; token_ids: the subject's ids, or () where a file gave only text; document:
    stable id of the document; domain: kind of text; position: offset of the first token in the corpus split.
    """

    tokens: tuple[str, ...]
    document: str
    domain: str
    position: int
    token_ids: tuple[int, ...] = ()
    id: str = field(init=False)

    def __post_init__(self) -> None:
        if self.token_ids and len(self.token_ids) != len(self.tokens):
            raise ValueError(f"{len(self.token_ids)} token ids for {len(self.tokens)} tokens")
        content = "\x1f".join([self.document, str(self.position), *self.tokens])
        object.__setattr__(self, "id", hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16])

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class ActivationRecord:
    """One unit's activation on every token of a context.

    activations: [len(context)] finite, on `scale`; focus: position of the token for which the record was chosen;
    stratum: why it was chosen; cluster: records with the same cluster are near-duplicates or overlap, so they stay in
    one split and are resampled together.
    """

    context: Context
    activations: FloatArray
    focus: int
    stratum: Stratum
    cluster: str
    scale: Scale = Scale.RAW

    def __post_init__(self) -> None:
        object.__setattr__(self, "activations", frozen_array(self.activations))
        if self.activations.shape != (len(self.context),):
            raise ValueError(f"{self.activations.shape} activations for {len(self.context)} tokens")
        if not 0 <= self.focus < len(self.context):
            raise ValueError(f"focus {self.focus} lies outside a context of {len(self.context)} tokens")


@dataclass(frozen=True, slots=True, eq=False)
class ExplainSplit:
    """The records an explainer may see, and the only ones. `maximum` is the largest activation among them."""

    records: tuple[ActivationRecord, ...]

    @property
    def maximum(self) -> float:
        return max((float(record.activations.max()) for record in self.records), default=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class CalibrateSplit:
    """The records on which a calibration of simulated values is fitted."""

    records: tuple[ActivationRecord, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreSplit:
    """The held-out records a score is computed on. Only a scorer sees them; a simulator gets their contexts."""

    records: tuple[ActivationRecord, ...]

    @property
    def contexts(self) -> tuple[Context, ...]:
        return tuple(record.context for record in self.records)


@dataclass(frozen=True, slots=True, eq=False)
class UnitStatistics:
    """What the harvest counted for one unit over all tokens of the corpus (not only the stored contexts).

    n_tokens: tokens harvested; fired: tokens with activation > 0; maximum, mean, mean_square: of the raw activation
    over all tokens; interval_edges [14], interval_tokens [13]: the equal-width slices of [0, max] and the tokens in
    each; histogram [n_bins]: counts over (0, histogram_scale]; top_tokens: most frequent focus tokens of top contexts;
    top_logits, bottom_logits: (token, weight) pairs, empty where the subject has no direct path to the logits.
    """

    n_tokens: int
    fired: int
    maximum: float
    mean: float
    mean_square: float
    interval_edges: FloatArray
    interval_tokens: NDArray[np.int64]
    histogram: NDArray[np.int64]
    histogram_scale: float
    top_tokens: tuple[str, ...] = ()
    top_logits: tuple[tuple[str, float], ...] = ()
    bottom_logits: tuple[tuple[str, float], ...] = ()

    @property
    def density(self) -> float:
        """Share of tokens with activation > 0, in [0, 1]."""
        return self.fired / self.n_tokens


@dataclass(frozen=True, slots=True, eq=False)
class UnitRecord:
    """A unit with its three disjoint splits. The splits have different types so that none can stand for another."""

    unit: UnitId
    explain: ExplainSplit
    calibrate: CalibrateSplit
    score: ScoreSplit
    statistics: UnitStatistics


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of LLM calls, as the provider counted them.

    prompt_tokens: all of the prompt, of which cached_prompt_tokens were read from the provider's cache and
    cache_write_tokens written to it; completion_tokens: all that was generated, of which reasoning_tokens were hidden.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Usage)))

    def to_json(self) -> dict[str, int]:
        """The counts by name; `Usage(**counts)` inverts it.

        Writing to a cache and hidden reasoning are left out where there was none, so that what was recorded before they
        were counted keeps its bytes.
        """
        counts = {one.name: int(getattr(self, one.name)) for one in fields(Usage)}
        always = ("prompt_tokens", "completion_tokens", "cached_prompt_tokens")
        return {name: count for name, count in counts.items() if count or name in always}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Enough to replay what made a value.

    prompt_id, prompt_hash: which template and its content hash; settings: what was sent (temperature, ...);
    request_keys: the ledger's keys of the calls, in order. A method without an LLM leaves provider and models empty.
    """

    method: str
    prompt_id: str = ""
    prompt_hash: str = ""
    provider: str = ""
    model_asked: str = ""
    model_served: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    request_keys: tuple[str, ...] = ()
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a unit is said to respond to. `text` comes from an explainer or a person; it never holds an error's text.

    origin: "explainer-name@version" or "human".
    """

    unit: UnitId
    text: str
    origin: str
    provenance: Provenance

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("an explanation is not empty")

    @property
    def id(self) -> str:
        """Content hash of the text, 16 hex digits."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """Predicted activations of one explanation on one context.

    expected: [len(context)] on `scale`; distribution: [len(context), n_levels] probabilities summing to 1 per row,
    where the simulator gives one; explanation_id is the `Explanation.id`, or "" for a baseline that reads none.
    """

    explanation_id: str
    context_id: str
    expected: FloatArray
    scale: Scale
    provenance: Provenance
    distribution: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", frozen_array(self.expected))


class Reason(StrEnum):
    """Why a measurement could not be made. The list is closed: a new reason is a change of the format."""

    CONSTANT_TRUTH = "constant_truth"  # the unit has one value on every scored token
    CONSTANT_PREDICTION = "constant_prediction"  # the simulator said the same of every token
    PARSE_FAILURE = "parse_failure"  # a reply came that is not of the form asked for
    REFUSAL = "refusal"  # the model declined
    TRUNCATED = "truncated"  # the reply ended at the length limit
    BAD_REPLY = "bad_reply"  # the server's answer is not a reply of its protocol
    CONTEXT_OVERFLOW = "context_overflow"  # the prompt is longer than the model's context
    PROVIDER_ERROR = "provider_error"  # the call failed after its retries
    NOT_IN_LEDGER = "not_in_ledger"  # replay only, and this request was never recorded
    TOO_FEW_CONTEXTS = "too_few_contexts"  # not enough distinct contexts for the protocol's splits
    NEVER_FIRES = "never_fires"  # the unit is silent on the whole corpus
    NO_EXPLANATION = "no_explanation"  # the explainer gave none, so nothing could be scored
    NO_CONTROL = "no_control"  # no other unit of the kind has an explanation to lend
    UNDEFINED = "undefined"  # the metric does not exist for these values (for instance a zero denominator)


class Role(StrEnum):
    """What a score measures: the unit's own explanation, or the company it is kept in."""

    EXPLANATION = "explanation"
    OTHER_EXPLANATION = "control_other_explanation"  # the explanation of another unit of the same kind
    SHUFFLED_WEIGHTS = "control_shuffled_weights"  # own explanation of a unit of the weight-shuffled subject
    BASELINE = "baseline"  # a predictor without an LLM


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval [low, high]; `level` in (0, 1), `method` names how it was made."""

    low: float
    high: float
    level: float = 0.95
    method: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"interval [{self.low}, {self.high}]")


@dataclass(frozen=True, slots=True)
class Scored:
    """A measurement that was made: a finite value, its interval (None where one context alone allows none)."""

    value: float
    interval: Interval | None
    n_contexts: int
    n_tokens: int

    def __post_init__(self) -> None:
        if not np.isfinite(self.value):
            raise ValueError(f"a score is a finite number, not {self.value}: use Unscored")


@dataclass(frozen=True, slots=True)
class Unscored:
    """A measurement that could not be made, and why. It is never 0, NaN or a sentence in the place of a number."""

    reason: Reason
    detail: str = ""


Outcome: TypeAlias = Scored | Unscored


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one explanation of one unit.

    scorer: canonical name such as "openai.simulation"; metric: exact name such as "pearson"; attempted, failed:
    contexts asked for and contexts whose simulation failed; explanation: the text scored, None for a baseline.
    """

    unit: UnitId
    scorer: str
    scorer_version: int
    metric: str
    outcome: Outcome
    role: Role
    attempted: int
    failed: int
    explanation: str | None = None
    provenance: tuple[Provenance, ...] = ()


@dataclass(frozen=True, slots=True)
class RankedUnit:
    """A place in a ranking. Ordered by `lower_bound` of the score's interval; never shown without its control.

    coverage: contexts scored / contexts attempted, in [0, 1]; control_gap: score minus the control's score for the same
    unit, None where the control is Unscored.
    """

    rank: int
    unit: UnitId
    lower_bound: float
    score: Scored
    coverage: float
    control_gap: float | None
    explanation: str | None
