"""From a path or name to a subject, or to its tokenizer alone."""

from __future__ import annotations

from pathlib import Path

from sae.corpus.tokenizer import TextTokenizer
from sae.errors import BadInput
from sae.subjects.base import Subject
from sae.subjects.hugging_face import load_hugging_face
from sae.subjects.pretrained import pretrained_tokenizer
from sae.subjects.shuffled import shuffle_weights
from sae.subjects.store import MANIFEST, folder_tokenizer, load_folder


def load_subject(path_or_name: str) -> Subject:
    """A folder of `sae subject train`, or else a Hugging Face name, folder or .gguf file.

    With "?shuffle=SEED" at the end its weight-shuffled control. Raises BadInput for anything else.
    """
    place, mark, query = path_or_name.partition("?")
    key, _, seed = query.partition("=")
    if mark and (key != "shuffle" or not (seed.isascii() and seed.isdigit())):
        raise BadInput(f"{path_or_name}: after the question mark only shuffle=SEED is known, with a whole number")
    if _is_ours(Path(place)):
        trained = load_folder(Path(place))
        return shuffle_weights(trained, int(seed)) if mark else trained
    fetched = load_hugging_face(place)
    return shuffle_weights(fetched, int(seed)) if mark else fetched


def load_tokenizer(path_or_name: str) -> TextTokenizer:
    """The tokenizer of a subject, for a corpus that it is to read; from the places of `load_subject`.

    Raises BadInput where there is none, or it names no end of a text.
    """
    if _is_ours(Path(path_or_name)):
        return folder_tokenizer(Path(path_or_name))
    return pretrained_tokenizer(path_or_name)


def _is_ours(folder: Path) -> bool:
    """Whether this is a folder of ours, whole or not, rather than one of Hugging Face's."""
    return (folder / MANIFEST).exists() or (folder.is_dir() and not (folder / "config.json").exists())
