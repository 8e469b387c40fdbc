"""Records of units: read from a context store or a file, dealt into disjoint splits, and shown in prompts."""

from autointerp.records.clusters import cluster
from autointerp.records.cut import cut, cut_many
from autointerp.records.neuron_records import lmen_plan, neuron_record, read_neuron_record, write_neuron_record
from autointerp.records.plan import POOLS, SplitPlan, census
from autointerp.records.pool import Pool, Texts
from autointerp.records.quantise import quantise
from autointerp.records.rendering import read_token, show_token
from autointerp.records.splits import split_pool, split_unit
from autointerp.records.store import ContextStore, StoredUnit
from autointerp.records.unit_records import read_records, write_unit_records

__all__ = [
    "POOLS",
    "ContextStore",
    "Pool",
    "SplitPlan",
    "StoredUnit",
    "Texts",
    "census",
    "cluster",
    "cut",
    "cut_many",
    "lmen_plan",
    "neuron_record",
    "quantise",
    "read_neuron_record",
    "read_records",
    "read_token",
    "show_token",
    "split_pool",
    "split_unit",
    "write_neuron_record",
    "write_unit_records",
]
