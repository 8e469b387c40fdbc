"""Asking again for what failed, and for nothing else: the job of a finished run with another reply allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autointerp.errors import BadInput
from autointerp.jobs.job import Job, PresetSection
from autointerp.results import read_manifest, read_scores
from autointerp.types import Reason

__all__ = ["once_more"]

_UNREAD = frozenset({Reason.PARSE_FAILURE, Reason.REFUSAL, Reason.TRUNCATED})
"""A reply came, and is in the ledger, but was of no use: only another one can help."""
_UNASKED = frozenset({Reason.PROVIDER_ERROR, Reason.BAD_REPLY, Reason.NOT_IN_LEDGER})
"""No reply is in the ledger: the same job asks again by itself."""


def once_more(job: Job, folder: Path) -> Job | None:
    """The job to run again for what stayed without a score in its run's folder; None where nothing failed.

    Calls that failed are not in the ledger and are asked again as they were. Where a reply came that could not be used,
    one more is allowed (the preset's `samples`), beyond those of the run; what was of use is in the ledger, and costs
    nothing. A greedy model may well say the same again. Raises BadInput where the folder holds no run of this job.
    """
    manifest = read_manifest(folder)
    if (manifest["name"], manifest["seed"]) != (job.name, job.seed):
        raise BadInput(f"{folder} holds the run of another job ({manifest['name']}, seed {manifest['seed']})")
    failed = _failed(folder)
    if not any(failed.values()):
        return None
    presets = [_again(preset, manifest["presets"], failed) for preset in job.presets]
    return job.model_copy(update={"presets": presets})


def _again(section: PresetSection, presets: dict[str, Any], failed: dict[str, set[str]]) -> PresetSection:
    used = int(presets.get(section.called, {}).get("settings", {}).get("samples", 1))
    more = 1 if failed.get(section.called, set()) & _UNREAD else 0
    if (samples := used + more) == 1:
        return section
    return PresetSection.model_validate({**section.model_dump(), "samples": samples})


def _failed(folder: Path) -> dict[str, set[str]]:
    """{preset: reasons for which calls of the run came to nothing}."""
    frame = read_scores(folder, ["primary", "status", "failed", "scorer", "reason", "detail"])
    frame = frame[frame["primary"] & ((frame["status"] != "scored") | (frame["failed"] > 0))]
    found: dict[str, set[str]] = {}
    for scorer, status, reason, detail in frame[["scorer", "status", "reason", "detail"]].itertuples(index=False):
        cause = str(detail).partition(": ")[0] if reason == Reason.NO_EXPLANATION else str(reason)
        if status == "scored":  # though some contexts failed; of those no reason is kept
            cause = Reason.PARSE_FAILURE.value
        if cause in _UNREAD | _UNASKED:
            found.setdefault(str(scorer).partition(".")[0], set()).add(cause)
    return found
