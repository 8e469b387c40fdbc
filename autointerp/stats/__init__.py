"""Pure functions on arrays: metrics, intervals, comparisons, ranking, calibration, importance weights."""

from autointerp.stats.calibration import LinearCalibration, PercentileCalibration, fit_linear, fit_percentiles
from autointerp.stats.classification import BaseRates, accuracy, auprc, auroc, balanced_accuracy, base_rates, f1
from autointerp.stats.comparison import (
    Estimate,
    GroupComparison,
    GroupSummary,
    PairedComparison,
    compare_groups,
    compare_paired,
    summarise,
)
from autointerp.stats.correlation import (
    METRICS,
    Value,
    abs_dev_explained,
    evaluate,
    pearson,
    r2_centred,
    r2_uncentred,
    spearman,
)
from autointerp.stats.importance import ImportanceScheme, RecordWeights, multiplicity, record_weights, token_weights
from autointerp.stats.intervals import Measurement, measure, score_with_interval
from autointerp.stats.ranking import Alike, Candidate, Ranking, Step, order_by_bound, rank
from autointerp.stats.resampling import stratum_group
from autointerp.stats.series import is_constant

__all__ = [
    "METRICS",
    "Alike",
    "BaseRates",
    "Candidate",
    "Estimate",
    "GroupComparison",
    "GroupSummary",
    "ImportanceScheme",
    "LinearCalibration",
    "Measurement",
    "PairedComparison",
    "PercentileCalibration",
    "Ranking",
    "RecordWeights",
    "Step",
    "Value",
    "abs_dev_explained",
    "accuracy",
    "auprc",
    "auroc",
    "balanced_accuracy",
    "base_rates",
    "compare_groups",
    "compare_paired",
    "evaluate",
    "f1",
    "fit_linear",
    "fit_percentiles",
    "is_constant",
    "measure",
    "multiplicity",
    "order_by_bound",
    "pearson",
    "r2_centred",
    "r2_uncentred",
    "rank",
    "record_weights",
    "score_with_interval",
    "spearman",
    "stratum_group",
    "summarise",
    "token_weights",
]
