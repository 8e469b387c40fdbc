"""Writing and finishing the results of many units: rows a second, and whether the peak of memory stays where it is.

The rows resemble those of the demo: two sample sets and three metrics for a unit's own explanation, for that of another
unit and for two baselines (24 rows a unit), with two lines of contexts. Each size runs in a process of its own, whose
peak is what the system counted (ru_maxrss); the peaks after the imports and before finishing stand beside it. The ratio
of the peaks is what must not grow. Seconds are of the processor, without those in which the rows are made up.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from autointerp import registry
from autointerp.records import ContextStore
from autointerp.results import Finished, Measured, RunWriter
from autointerp.types import Interval, Kind, Outcome, Provenance, Reason, Role, Score, Scored, UnitId, Unscored, Usage

FEW, MANY = 1000, 20_000
METRICS = ("pearson", "spearman", "corpus_pearson")
WORDS = ("words", "for", "months", "after", "numbers", "in", "lists", "names", "of", "rivers", "and", "verbs")
STORE = {
    "subject": {"name": "toy", "fingerprint": "0"},
    "hook": "blocks.0.mlp.hook_post",
    "corpus": {"name": "toy", "tokens": 10**6},
    "dictionary": {"name": "sae"},
    "precision": "float32",
}
STATISTICS = {
    "n_tokens": 10**6,
    "fired": 1000,
    "density": 0.001,
    "maximum": 3.0,
    "mean": 0.01,
    "histogram_scale": 3.0,
    "interval_edges": [],
    "interval_tokens": [],
    "top_tokens": list(WORDS),
    "top_logits": [],
    "bottom_logits": [],
}


def run(many: int = MANY) -> dict[str, Any]:
    """Peak of memory in MB for `FEW` and for `many` units, their ratio, and rows and units a second of the larger."""
    few, large = (_measured(units) for units in (FEW, many))
    spent = large["seconds"]["adding"] + large["seconds"]["finishing"]
    return {
        "units": [FEW, many],
        "rows": [few["rows"], large["rows"]],
        "processor_seconds": [few["seconds"], large["seconds"]],
        "rows_per_second": round(large["rows"] / spent),
        "units_per_minute": round(60 * many / spent),
        "peak_mb": {what: [few[f"{what}_mb"], large[f"{what}_mb"]] for what in ("imported", "added", "peak")},
        "peak_ratio": round(large["peak_mb"] / few["peak_mb"], 3),
        "files_mb": large["files_mb"],
    }


def _measured(units: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_results", "--child", str(units)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _child(units: int) -> dict[str, Any]:
    imported = _peak_mb()
    preset = registry.find("presets", "openai")
    job = {"name": "synthetic", "seed": 0, "statistics": {"level": 0.95, "resamples": 1000}}
    store = cast(ContextStore, SimpleNamespace(fingerprint="0", manifest=STORE))
    rng = np.random.default_rng(0)
    seconds = dict.fromkeys(("making", "adding", "finishing"), 0.0)
    n_rows = 0
    with tempfile.TemporaryDirectory() as name, RunWriter(Path(name)) as writer:
        for number in range(units):
            start = time.process_time()
            rows, lines = list(_rows(number, units, rng)), list(_lines(number, units, rng))
            made = time.process_time()
            for row in rows:
                writer.add(row)
            for line in lines:
                writer.add_detail(line)
            seconds["adding"] += time.process_time() - made
            seconds["making"] += made - start
            n_rows += len(rows)
        added_mb, start = _peak_mb(), time.process_time()
        writer.finish(Finished(job, [preset], [store], {}))
        seconds["finishing"] = time.process_time() - start
        mb = {path.name: round(path.stat().st_size / 1e6, 1) for path in Path(name).rglob("*") if path.is_file()}
    return {
        "rows": n_rows,
        "seconds": {what: round(spent, 1) for what, spent in seconds.items()},
        "imported_mb": imported,
        "added_mb": added_mb,
        "peak_mb": _peak_mb(),
        "files_mb": mb,
    }


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _unit(number: int, units: int) -> UnitId:
    """Half of the units are features. They come in no order."""
    index = number * 7919 % units
    kind = Kind.FEATURE if index % 2 else Kind.NEURON
    return UnitId("toy", "blocks.0.mlp.hook_post", kind, "sae" if kind is Kind.FEATURE else None, index)


def _rows(number: int, units: int, rng: np.random.Generator) -> Iterator[Measured]:
    unit = _unit(number, units)
    quality = float(rng.beta(4, 3) if unit.kind is Kind.FEATURE else rng.beta(2, 5))
    text = _text(rng)
    density = float(10 ** rng.uniform(-5, -1))
    roles = ((Role.EXPLANATION, "simulation", quality), (Role.OTHER_EXPLANATION, "simulation", 0.0),
             (Role.BASELINE, "token_lookup", quality / 2), (Role.BASELINE, "constant", None))  # fmt: skip
    for role, method, mean in roles:
        made = _provenance(rng, method)
        told = None if role is Role.BASELINE else text
        for scorer in (f"openai.{method}", f"openai.{method}.random_only"):
            for metric in METRICS:
                score = Score(unit, scorer, 1, metric, _outcome(rng, mean), role, 10, 0, told, made)
                yield Measured(score, density, metric == METRICS[0])


def _text(rng: np.random.Generator) -> str:
    return " ".join(WORDS[place] for place in rng.integers(0, len(WORDS), 9).tolist())


def _outcome(rng: np.random.Generator, mean: float | None) -> Outcome:
    if mean is None:
        return Unscored(Reason.CONSTANT_PREDICTION, f"the prediction is {rng.random():.6g} on every token")
    if rng.random() < 0.02:
        return Unscored(Reason.PARSE_FAILURE, "the reply has 2 lines")
    value = min(1.0, max(-1.0, mean + float(rng.normal(0, 0.1))))
    margin = float(rng.uniform(0.05, 0.3))
    return Scored(value, Interval(max(-1.0, value - margin), min(1.0, value + margin), 0.95, "made up"), 10, 160)


def _provenance(rng: np.random.Generator, method: str) -> tuple[Provenance, ...]:
    if method != "simulation":
        return (Provenance(f"{method}@1"),)
    keys = tuple(rng.bytes(32).hex() for _ in range(10))
    settings = {"max_tokens": 1, "temperature": 0.0, "top_logprobs": 20}
    model = {"provider": "openai", "model_asked": "m", "model_served": "m-1"}
    explained = Provenance("explain@2", "explain@2", "0" * 64, **model, request_keys=keys[:1], usage=Usage(900, 20))
    simulated = Provenance("simulate@1", "simulate@1", "1" * 64, **model, settings=settings, request_keys=keys)
    return explained, simulated


def _lines(number: int, units: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    unit = _unit(number, units)
    for role in (Role.EXPLANATION, Role.OTHER_EXPLANATION):
        truth, expected = (rng.integers(0, 9999, (20, 16)) / 1000).tolist(), rng.integers(0, 9, (20, 16)).tolist()
        tokens = rng.integers(0, len(WORDS), (20, 16)).tolist()
        records = [
            {
                "split": "explain" if record < 10 else "score",
                "stratum": "top",
                "domain": "toy",
                "document": f"{number}",
                "context": rng.bytes(8).hex(),
                "focus": 8,
                "tokens": [WORDS[place] for place in tokens[record]],
                "truth": truth[record],
                "expected": None if record < 10 else expected[record],
            }
            for record in range(20)
        ]
        yield {
            "unit": str(unit),
            "kind": unit.kind.value,
            "index": unit.index,
            "preset": "openai",
            "role": role.value,
            "explanation": {"text": _text(rng), "origin": "made up", "unit": str(unit)},
            "scale": "0-9",
            "statistics": {**STATISTICS, "histogram": rng.integers(0, 99, 64).tolist()},
            "records": records,
        }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        json.dump(_child(int(sys.argv[2])), sys.stdout)
    else:
        json.dump(run(*map(int, sys.argv[1:])), sys.stdout, indent=1)
