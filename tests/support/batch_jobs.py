"""A small job that is asked in batches of the vendors' stand-in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from support.batch_vendors import Vendor
from support.stores import write_store

__all__ = ["reader", "write_job"]

JOB = """
name = "batched"
[store]
path = "../store"
[units]
features = [0, 1, 3]
neurons = [0, 1]
[baselines]
units = "none"
[model]
provider = "{provider}"
name = "m"
price = {{ input_per_million = 1.0, output_per_million = 2.0, batch_factor = 0.5 }}
{batch}
settings = {{ {settings} }}
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
simulator_temperature = "none"
explainer_temperature = "none"
"""


def reader(body: dict[str, Any]) -> str:
    """The same answer to the same prompt: an explanation, or a level for each token of the excerpts in it."""
    digest = hashlib.sha256(json.dumps(body["messages"], sort_keys=True).encode()).digest()
    content = body["messages"][-1]["content"]
    content = content if isinstance(content, str) else content[0]["text"]
    excerpts = [json.loads(line.partition(": ")[2]) for line in content.split("\n") if line.startswith("Text ")]
    if not excerpts:
        return f"words like {digest.hex()[:8]}"
    labels = [label for excerpt in excerpts for label in excerpt]
    return json.dumps({label: digest[place % len(digest)] % 11 for place, label in enumerate(labels)})


def write_job(folder: Path, provider: str, vendor: Vendor, *, batch: bool) -> Path:
    if not (folder.parent / "store").exists():
        write_store(folder.parent / "store")
    folder.mkdir()
    address = {"openai": f"{vendor.url}/v1", "anthropic": vendor.url}[provider]
    settings = f'base_url = "{address}", key_variable = "", json_mode = true'
    if provider == "anthropic":
        settings = f'base_url = "{address}", key_variable = ""'
    path = folder / "job.toml"
    keys = "batch = true\nbatch_poll_s = 0.05" if batch else ""
    path.write_text(JOB.format(provider=provider, settings=settings, batch=keys))
    return path
