"""`make bench`: every benchmark's ratios, measured one after another on this machine, to results/bench.json."""

from __future__ import annotations

import importlib
import json
import platform
import sys
from pathlib import Path

BENCHMARKS = (
    "bench_engine",
    "bench_harvest",
    "bench_ledger",
    "bench_pacing",
    "bench_records",
    "bench_results",
    "bench_resume",
    "bench_sae_train",
    "speed_of_intervals",
    "tokens_per_unit",
)
OUT = Path(__file__).parents[2] / "results" / "bench.json"


def main() -> None:
    """Runs the benchmarks named on the command line, or all of them; writes what they return."""
    results = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name in sys.argv[1:] or BENCHMARKS:
        sys.stderr.write(f"{name} ...\n")
        results[name] = importlib.import_module(f"tests.benchmarks.{name}").run()
    results["machine"] = {"processor": platform.machine(), "python": platform.python_version()}
    OUT.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
