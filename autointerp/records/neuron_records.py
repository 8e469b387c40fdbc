"""OpenAI's NeuronRecord JSON, read into a pool and written from one.

Read are the files of LMEN and of the Transformer Debugger, in the variants that are about: the neuron named by
neuron_id {layer_index, neuron_index} or by the older idx / layer / unit, in an object of its own or beside the
records, as numbers or as strings; dataclass_name missing; moments missing, null or NaN; keys that are not known.

A NeuronRecord has top and random records and nothing that was counted over the corpus but moments. It does not say of
which text its contexts are, so that near-duplicates and overlaps are told by their tokens alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.records.listed import Listed, number_list, pool_of, read_json, text_list, write_json
from autointerp.records.plan import SplitPlan
from autointerp.records.pool import Pool
from autointerp.types import Kind, Stratum, UnitId, UnitStatistics, frozen_array

__all__ = ["lmen_plan", "neuron_record", "parse_neuron_record", "read_neuron_record", "write_neuron_record"]

_TOP, _RANDOM = "most_positive_activation_records", "random_sample"
_LAYER = ("layer_index", "layer")
_INDEX = ("neuron_index", "idx", "unit", "index")
_INTERVALS, _BINS = 13, 64


def read_neuron_record(path: str | Path, *, subject: str = "unnamed") -> Pool:
    """The records of a NeuronRecord file; see `parse_neuron_record`. Raises BadInput with one line naming the file."""
    return parse_neuron_record(read_json(Path(path)), str(path), subject=subject)


def parse_neuron_record(content: Mapping[str, Any], where: str, *, subject: str = "unnamed") -> Pool:
    """A pool of a NeuronRecord's top and random records.

    where: how errors name the source; subject: name of the model, which the format does not hold. The unit is the
    neuron's at the hook blocks.{layer}.mlp.hook_post. A top record's focus is its maximum, a random record's is its
    middle token: its maximum would make a sample of activations out of a sample of text, once it is cut.

    Statistics: mean and mean square from the file's moments where it has them. Everything else, and they too where it
    has not, is counted in the random records (in all records if there are none), which are the file's only fair sample.

    random_sample_by_quantile is left out: LMEN's splits do not use it. Raises BadInput where this is no NeuronRecord.
    """
    name = content.get("dataclass_name", "NeuronRecord")
    if name != "NeuronRecord":
        raise BadInput(f"{where}: holds a {name}, not a NeuronRecord")
    if _TOP not in content and _RANDOM not in content:
        raise BadInput(f"{where}: not a NeuronRecord (neither {_TOP} nor {_RANDOM})")
    layer, index = _neuron(content, where)
    top = _records(content, _TOP, Stratum.TOP, where)
    random = _records(content, _RANDOM, Stratum.RANDOM, where)
    if not top and not random:
        raise BadInput(f"{where}: the NeuronRecord holds no records")
    unit = UnitId(subject, f"blocks.{layer}.mlp.hook_post", Kind.NEURON, None, index)
    return pool_of(unit, _statistics(content, top, random), [*top, *random])


def lmen_plan(pool: Pool) -> SplitPlan:
    """LMEN's splits in the size that a file allows: a quarter of the top records and a third of the random ones each.

    That is what the published code does where it is given no number of examples. Windows are left whole.
    """
    n_top, n_random = (len(pool.rows(stratum)) for stratum in (Stratum.TOP, Stratum.RANDOM))
    top = {"top": max(n_top // 4, 1)}
    both = {**top, "random": max(n_random // 3, 1)} if n_random else top
    window = pool.tokens.shape[1]
    return SplitPlan(window, explain=top, calibrate=both, score=both, test=both, order="interleaved")


def neuron_record(pool: Pool) -> dict[str, Any]:
    """A pool's top and random records as a NeuronRecord, ready for JSON: what `parse_neuron_record` reads.

    The format has no place for other strata, documents and counts. Raises BadInput where the hook names no layer.
    """
    layer = re.match(r"blocks\.(\d+)\.", pool.unit.hook)
    if layer is None:
        raise BadInput(f"{pool.unit}: a NeuronRecord names a layer, and this hook is in none")
    statistics = pool.statistics
    return {
        "dataclass_name": "NeuronRecord",
        "neuron_id": {
            "dataclass_name": "NeuronId",
            "layer_index": int(layer.group(1)),
            "neuron_index": pool.unit.index,
        },
        _RANDOM: _written(pool, Stratum.RANDOM),
        "random_sample_by_quantile": None,
        "quantile_boundaries": None,
        "mean": statistics.mean,
        "variance": max(statistics.mean_square - statistics.mean**2, 0.0),
        "skewness": None,
        "kurtosis": None,
        _TOP: _written(pool, Stratum.TOP),
    }


def write_neuron_record(path: str | Path, pool: Pool) -> None:
    """Write a pool's top and random records as a NeuronRecord file; see `neuron_record`."""
    write_json(Path(path), neuron_record(pool))


def _neuron(content: Mapping[str, Any], where: str) -> tuple[int, int]:
    """(layer, index), from the object that names them or from the record itself."""
    holders = [content.get("neuron_id"), content.get("unit"), content]
    for holder in (one for one in holders if isinstance(one, Mapping)):
        layer, index = (next((holder[key] for key in keys if key in holder), None) for keys in (_LAYER, _INDEX))
        if layer is not None and index is not None:
            return _whole(layer, "layer", where), _whole(index, "neuron", where)
    raise BadInput(f'{where}: the neuron is not named; add "neuron_id": {{"layer_index": 0, "neuron_index": 0}}')


def _whole(value: Any, what: str, where: str) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise BadInput(f"{where}: the {what}'s number is {value!r}; it must be a whole number from 0")
    return int(text)


def _records(content: Mapping[str, Any], key: str, stratum: Stratum, where: str) -> list[Listed]:
    entries = content.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise BadInput(f"{where}: {key} is not a list of records")
    return [_record(entry, stratum, f"{where}: {key}[{number}]") for number, entry in enumerate(entries)]


def _record(entry: Mapping[str, Any], stratum: Stratum, where: str) -> Listed:
    tokens = text_list(entry.get("tokens"), f"{where}.tokens")
    activations = number_list(entry.get("activations"), f"{where}.activations")
    if len(activations) != len(tokens):
        pairs = len(activations) == len(tokens) * (len(tokens) + 1) // 2
        why = "; records of token pairs (attention heads) cannot be read" if pairs else ""
        raise BadInput(f"{where}: {len(activations)} activations for {len(tokens)} tokens{why}")
    focus = int(np.argmax(activations)) if stratum is Stratum.TOP else len(tokens) // 2
    return Listed(stratum, tokens, activations, focus)


def _statistics(content: Mapping[str, Any], top: list[Listed], random: list[Listed]) -> UnitStatistics:
    sample = np.concatenate([record.activations for record in (random or top)])
    maximum = max(0.0, *(max(record.activations) for record in [*top, *random]))
    mean, variance = (_moment(content.get(name)) for name in ("mean", "variance"))
    mean = float(sample.mean()) if mean is None else mean
    mean_square = float(np.square(sample).mean()) if variance is None else variance + mean**2
    firing = sample[sample > 0]
    return UnitStatistics(
        n_tokens=len(sample),
        fired=len(firing),
        maximum=maximum,
        mean=mean,
        mean_square=mean_square,
        interval_edges=frozen_array(np.linspace(0, maximum, _INTERVALS + 1)),
        interval_tokens=_counts(firing, maximum, _INTERVALS),
        histogram=_counts(firing, maximum, _BINS),
        histogram_scale=maximum,
    )


def _moment(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def _counts(firing: NDArray[np.float64], maximum: float, bins: int) -> NDArray[np.int64]:
    """How many activations lie in each of equal slices (low, high] of (0, maximum], as a context store counts them."""
    edges = np.linspace(0, maximum, bins + 1)
    counts = np.bincount(np.searchsorted(edges[:-1], firing, side="left") - 1, minlength=bins).astype(np.int64)
    counts.setflags(write=False)
    return counts


def _written(pool: Pool, stratum: Stratum) -> list[dict[str, Any]]:
    return [
        {
            "dataclass_name": "ActivationRecord",
            "tokens": [pool.texts.vocabulary[number] for number in pool.tokens[row, : pool.lengths[row]]],
            "activations": pool.activations[row, : pool.lengths[row]].tolist(),
        }
        for row in pool.rows(stratum)
    ]
