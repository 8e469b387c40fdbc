"""Whether a dictionary and a corpus belong to a subject: asked by every command that takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sae.corpus import Corpus
    from sae.subjects import Subject

AnyTokenizer = Annotated[
    bool, typer.Option("--any-tokenizer", help="Take the corpus's token ids though the subject's tokenizer is another.")
]


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


def check_same_tokenizer(subject: str, corpus: Corpus) -> None:
    """Raises BadInput where the corpus's token ids mean something else to the subject, or nobody can say what.

    subject: as for `load_subject`. Ids that are in range pass through any model, and every number that comes of them
    would look like one. A subject of ours names its tokenizer's file; of another's the tokens are compared, id by id.
    """
    from sae.errors import BadInput

    place = subject.partition("?")[0]
    named = _tokenizer_named_by(Path(place))
    if named is not None and named == corpus.manifest["tokenizer"]["sha256"]:
        return
    if named is None and _tokens_of(place) == corpus.tokenizer.get_vocab():
        return
    raise BadInput(
        f"{corpus.path}: made with another tokenizer than {subject} was trained with; give the corpus that was built "
        "with the subject's, or --any-tokenizer if its ids are known to be right"
    )


def _tokenizer_named_by(folder: Path) -> str | None:
    """The sha256 of the tokenizer that a subject of ours was trained with; None where this is no such folder."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sha256: str | None = manifest.get("corpus", {}).get("tokenizer_sha256")
    return sha256


def _tokens_of(place: str) -> dict[str, int] | None:
    """The ids of a Hugging Face model's tokens; None where it has no tokenizer that can be read."""
    from transformers import AutoTokenizer

    path = Path(place)
    source: dict[str, Any] = {"pretrained_model_name_or_path": place}
    if path.suffix == ".gguf":
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        tokens: dict[str, int] = AutoTokenizer.from_pretrained(**source).get_vocab()
    except (OSError, ValueError, KeyError, ImportError):
        return None
    return tokens
