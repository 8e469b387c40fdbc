"""The folder of a trained subject: manifest.json, weights.safetensors, tokenizer.json, vocab.json, log.jsonl."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from sae.corpus.tokenizer import EOT, TextTokenizer, tokenizer_fingerprint
from sae.errors import BadInput
from sae.files import file_entry, write_atomically
from sae.subjects.one_layer import OneLayerConfig, OneLayerSubject, OneLayerTransformer

FORMAT, VERSION = "sae-subject", 1
MANIFEST, WEIGHTS, TOKENIZER = "manifest.json", "weights.safetensors", "tokenizer.json"


def save_subject(
    folder: Path,
    model: OneLayerTransformer,
    *,
    name: str,
    corpus: dict[str, Any],
    training: dict[str, Any],
    dtype: str,
    companions: dict[str, bytes],
    exported_from: str | None = None,
) -> dict[str, Any]:
    """Write a subject's folder and return its manifest, which is written last: without it the folder is not whole.

    corpus: "name", "fingerprint", "tokenizer_sha256" and "eot", its tokenizer's end of a text. training: what was done
    and reached. dtype: of the stored weights, "float16" or "float32". companions: the files kept beside the weights,
    by name (tokenizer.json, vocab.json, ...).
    exported_from: fingerprint of the subject whose weights were rounded to these.
    """
    stored = storage_dtype(dtype)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().to(stored).contiguous() for key, value in model.state_dict().items()}
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise BadInput(f"{name}: {key} is not finite in {dtype}; store it as float32 or train it anew")
    contents = companions | {WEIGHTS: save(tensors)}
    for file, content in contents.items():
        write_atomically(folder / file, content)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "config": asdict(model.config),
        "corpus": corpus,
        "training": training,
        "dtype": dtype,
        "exported_from": exported_from,
        "files": {file: file_entry(folder / file) for file in sorted(contents)},
    }
    write_atomically(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    return manifest


def storage_dtype(name: str) -> torch.dtype:
    """The dtype of a name that weights can be stored as. Raises BadInput for other names."""
    dtypes = {"float16": torch.float16, "float32": torch.float32}
    if name not in dtypes:
        raise BadInput(f"dtype {name!r}: weights are stored as {' or '.join(dtypes)}")
    return dtypes[name]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a subject's folder. Raises BadInput if there is none, or one that this program cannot read."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{folder}: holds no {MANIFEST}; give the folder of a finished `sae subject train`") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{path}: not the manifest of a subject (its format is not {FORMAT!r})")
    if manifest.get("version") != VERSION:
        raise BadInput(f"{path}: version {manifest.get('version')} of the format; this program reads version {VERSION}")
    return manifest


def load_folder(folder: Path) -> OneLayerSubject:
    """The subject of a folder, in float32. Raises BadInput if a file is missing, damaged or does not fit."""
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    try:
        model = OneLayerTransformer(OneLayerConfig(**manifest["config"]))
        model.load_state_dict(load((folder / WEIGHTS).read_bytes()))
        name = str(manifest["name"])
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{folder}: the weights do not fit the manifest's config ({reason})") from error
    return OneLayerSubject(
        model,
        name,
        exported_from=manifest.get("exported_from"),
        read_tokenizer=lambda: tokenizer_fingerprint(folder_tokenizer(folder).tokenizer),
    )


def folder_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a subject's folder. Raises BadInput if the folder is damaged or holds none."""
    from tokenizers import Tokenizer

    manifest = read_manifest(folder)
    check_files(folder, manifest)
    if TOKENIZER not in manifest["files"]:
        raise BadInput(f"{folder}: holds no {TOKENIZER}; copy the folder of `sae subject train` again")
    # Before a corpus could be made with another tokenizer, the end of a text was always entry 0.
    return TextTokenizer(Tokenizer.from_file(str(folder / TOKENIZER)), manifest["corpus"].get("eot", EOT))


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise BadInput unless every file of the manifest is there with its size and checksum."""
    files = manifest.get("files")
    if not isinstance(files, dict) or WEIGHTS not in files:
        raise BadInput(f"{folder / MANIFEST}: lists no {WEIGHTS}; the folder is not whole")
    for file, expected in files.items():
        path = folder / file
        if not path.is_file():
            raise BadInput(f"{path}: missing; copy the folder again")
        if file_entry(path) != expected:
            raise BadInput(f"{path}: damaged (its size or checksum is not the manifest's); copy the folder again")
