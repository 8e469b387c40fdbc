"""A run's manifest.json, read: what the tables, the figures and the report need to know of how the run was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput

__all__ = ["FORMAT", "MANIFEST_VERSION", "is_run", "read_manifest"]

FORMAT = "autointerp-run"
MANIFEST_VERSION = 1

_NEEDED = ("name", "seed", "statistics", "stores", "first_preset", "presets", "prompts", "models", "calls", "versions")


def is_run(folder: Path) -> bool:
    """Whether a folder's manifest is that of a run, of whatever version; not where it is damaged."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run's folder. Raises BadInput where there is none, or one that this program cannot read."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{folder} holds no manifest.json: give the folder of a finished run") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read ({error}): run the job again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{path} is not the manifest of a run: give the folder of a finished run")
    if manifest.get("version") != MANIFEST_VERSION:
        raise BadInput(
            f"{path} is of version {manifest.get('version')!r}, and this program reads version {MANIFEST_VERSION}: "
            "update autointerp, or run the job again"
        )
    if missing := [key for key in _NEEDED if key not in manifest]:
        raise BadInput(f"{path} lacks {missing[0]!r}: run the job again")
    return manifest
