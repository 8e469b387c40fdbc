"""Whether a dictionary belongs to a subject: asked by every command that takes both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae.subjects import Subject


def check_trained_on(manifest: dict[str, Any] | None, subject: Subject, dictionary: Path) -> None:
    """Raises BadInput where a dictionary was trained on another subject than this one or the one it was rounded from.

    A dictionary without a manifest of ours (a downloaded one) names none, and is taken as the person gave it.
    """
    from sae.errors import BadInput

    trained_on = (manifest or {}).get("subject", {}).get("fingerprint")
    if trained_on not in (None, subject.fingerprint, subject.exported_from):
        raise BadInput(
            f"{dictionary}: was trained on a subject with fingerprint {trained_on}, this one has "
            f"{subject.fingerprint}; give that subject, or --any-subject if the difference is meant"
        )
