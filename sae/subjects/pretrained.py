"""What Hugging Face's transformers is asked for: where a model lies, and the tokenizer that comes with it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from sae.corpus.tokenizer import TextTokenizer, tokenizer_fingerprint
from sae.errors import BadInput
from sae.subjects.hub import check_name

# A GGUF file that is cut short ends transformers' reader with the errors of its decoding.
FAILURES = (OSError, ValueError, KeyError, IndexError, ImportError, struct.error)


def source_of(place: str) -> dict[str, Any]:
    """The arguments of `from_pretrained` for a hub name, a folder of transformers or a .gguf file.

    Raises BadInput if transformers is not installed, the file is no GGUF, or nothing of that name is to be had.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise BadInput(
            f"{place}: a Hugging Face model needs transformers; install this package with the extra [local]"
        ) from error
    path = Path(place)
    if path.suffix == ".gguf":
        _check_gguf(path)
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if not path.exists():
        check_name(place)
    return {"pretrained_model_name_or_path": place}


def pretrained_fingerprint(place: str) -> str:
    """Of the tokenizer that comes with a model; `place` as for `source_of`. Raises BadInput where there is none."""
    return tokenizer_fingerprint(_fast_tokenizer(place).backend_tokenizer)


def pretrained_tokenizer(place: str) -> TextTokenizer:
    """The tokenizer that comes with a model, with its end-of-sequence token as the end of a text.

    Raises BadInput where there is none, or where it names no such token.
    """
    tokenizer = _fast_tokenizer(place)
    if tokenizer.eos_token_id is None:
        raise BadInput(f"{place}: its tokenizer names no end of a text; set eos_token in its tokenizer_config.json")
    return TextTokenizer(tokenizer.backend_tokenizer, int(tokenizer.eos_token_id))


def _fast_tokenizer(place: str) -> Any:
    """A tokenizer of transformers that stands on one of the library `tokenizers`."""
    source = source_of(place)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(**source)
    except FAILURES as error:
        raise BadInput(
            f"{place}: no tokenizer of this model can be loaded ({one_line(error)}); put its tokenizer.json there"
        ) from error
    # Without any file, transformers makes an empty one of some models' kind.
    if not hasattr(tokenizer, "backend_tokenizer") or not tokenizer.backend_tokenizer.encode("a").ids:
        raise BadInput(f"{place}: no tokenizer comes with this model; put its tokenizer.json there")
    return tokenizer


def one_line(error: Exception) -> str:
    """What an error of a library says, fit for a message of one line."""
    return " ".join(str(error).split())[:300]


def _check_gguf(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    if magic != b"GGUF":
        raise BadInput(f"{path}: not a GGUF file (it does not start with the bytes GGUF); download it again")
