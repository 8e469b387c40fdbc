"""Whether a dictionary and a corpus belong to a subject: asked by every command that takes them."""

from __future__ import annotations

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


def check_same_tokenizer(subject: Subject, corpus: Corpus) -> None:
    """Raises BadInput where the corpus's token ids mean something else to the subject, or nobody can say what.

    Ids that are in range pass through any model, and every number that comes of them would look like one.
    """
    from sae.errors import BadInput

    try:
        own = subject.tokenizer_fingerprint
    except BadInput as error:
        raise BadInput(f"{error}, or give --any-tokenizer if the corpus's ids are known to be right") from error
    if corpus.tokenizer_fingerprint != own:
        raise BadInput(
            f"{corpus.path}: made with another tokenizer ({corpus.tokenizer_fingerprint}) than {subject.name} was "
            f"trained with ({own}); make a corpus with the subject's (sae corpus build --tokenizer SUBJECT), or give "
            "--any-tokenizer if its ids are known to be right"
        )
