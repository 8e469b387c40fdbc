"""Dictionaries on disk: the SAELens layout (cfg.json + sae_weights.safetensors) with a manifest beside it.

A folder written by others has no manifest and is read all the same. Ours has one, written last: where it is, the
folder is whole, and its checksums say whether it still is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as render_safetensors
from torch import Tensor

from sae.dictionaries.base import Dictionary
from sae.dictionaries.registry import by_saelens_name
from sae.dictionaries.saelens import SaeLensConfig, parse_config, render_config
from sae.errors import BadInput
from sae.files import content_entry, render_json, write_atomically

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
MANIFEST_FILE = "manifest.json"
FORMAT = "sae-dictionary"
VERSION = 1

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def save_dictionary(
    dictionary: Dictionary, folder: Path, provenance: Mapping[str, Any], *, dtype: str = "float32"
) -> dict[str, Any]:
    """Write cfg.json, sae_weights.safetensors and, last, manifest.json into `folder`.

    `provenance` is what the manifest says besides sizes and checksums: name, subject, corpus, training. `dtype` is
    float32, float16 or bfloat16. Returns the manifest.

    Raises BadInput when a weight does not fit into `dtype` (float16 ends at 65,504).
    """
    weights = _stored_tensors(dictionary, dtype)
    subject, corpus = provenance.get("subject") or {}, provenance.get("corpus") or {}
    config = render_config(
        architecture=dictionary.saelens_architecture,
        d_in=dictionary.d_in,
        d_sae=dictionary.d_sae,
        hook_name=dictionary.hook_name,
        dtype=dtype,
        settings=dictionary.settings(),
        model_name=subject.get("name"),
        context_size=corpus.get("block_tokens"),
        dataset=corpus.get("name"),
    )
    files = {CONFIG_FILE: render_json(config), WEIGHTS_FILE: render_safetensors(weights)}
    stored = {name: tensor.to(torch.float32) for name, tensor in weights.items()}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        **provenance,
        "architecture": dictionary.architecture,
        "hook": dictionary.hook_name,
        "d_in": dictionary.d_in,
        "d_sae": dictionary.d_sae,
        "dtype": dtype,
        "fingerprint": type(dictionary).from_saelens(parse_config(config, CONFIG_FILE), stored).fingerprint(),
        "files": {name: content_entry(data) for name, data in files.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomically(folder / name, data)
    write_atomically(folder / MANIFEST_FILE, render_json(manifest))
    return manifest


def load_dictionary(path: str | Path) -> Dictionary:
    """Read a dictionary of this project or of SAELens (flat or nested cfg.json) as float32 on the CPU.

    Raises BadInput, in one line, for a folder that is not there, is damaged or truncated, is of a newer version, or
    holds an architecture or a setting that cannot be honoured.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; a dictionary is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    manifest = read_manifest(folder)
    config_bytes, weights_bytes = _read(folder / CONFIG_FILE), _read(folder / WEIGHTS_FILE)
    if manifest is not None:
        _check_files(folder, manifest, {CONFIG_FILE: config_bytes, WEIGHTS_FILE: weights_bytes})
    where = str(folder / CONFIG_FILE)
    config = parse_config(_parse_json(config_bytes, where), where)
    cls = by_saelens_name(config.architecture, where)
    tensors = _parse_weights(weights_bytes, str(folder / WEIGHTS_FILE))
    _check_tensors(cls, config, tensors, str(folder / WEIGHTS_FILE))
    return cls.from_saelens(config, tensors)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The folder's manifest, or None where there is none (a dictionary made by another tool).

    Raises BadInput when it is no manifest of a dictionary or of a version this program does not know.
    """
    path = folder / MANIFEST_FILE
    if not path.exists():
        return None
    manifest = _parse_json(_read(path), str(path))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{path}: not the manifest of a dictionary (format {FORMAT!r} expected)")
    if manifest.get("version") != VERSION:
        raise BadInput(f"{path}: version {manifest.get('version')!r}, this program reads version {VERSION}")
    return manifest


def export_dictionary(source: Path, target: Path, *, dtype: str) -> dict[str, Any]:
    """Copy a dictionary into `target` in another precision, with cfg.json, manifest and checksums of its own.

    The copy's manifest keeps the provenance of the original and names its fingerprint under `exported_from`.
    Returns the copy's manifest. Raises BadInput as `load_dictionary` does, and when `target` is not empty.
    """
    if dtype not in DTYPES:
        raise BadInput(f"dtype {dtype!r} is not known; choose one of {', '.join(DTYPES)}")
    if target.exists() and any(target.iterdir()):
        raise BadInput(f"{target}: not empty; export into a new folder")
    dictionary = load_dictionary(source)
    ours = ("format", "version", "architecture", "hook", "d_in", "d_sae", "dtype", "fingerprint", "files")
    manifest = read_manifest(source) or {"name": source.resolve().name}
    provenance = {key: value for key, value in manifest.items() if key not in ours}
    provenance["exported_from"] = {"fingerprint": dictionary.fingerprint(), "dtype": manifest.get("dtype")}
    return save_dictionary(dictionary, target, provenance, dtype=dtype)


def _stored_tensors(dictionary: Dictionary, dtype: str) -> dict[str, Tensor]:
    stored = {}
    for name, tensor in dictionary.tensors().items():
        # A copy of its own: safetensors refuses tensors that share memory or are views.
        stored[name] = tensor.detach().to("cpu", DTYPES[dtype], copy=True).contiguous()
        if not torch.isfinite(stored[name]).all():
            raise BadInput(f"{name} holds a value that is not finite in {dtype}; choose another dtype")
    return stored


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: missing; a dictionary has {CONFIG_FILE} and {WEIGHTS_FILE}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error


def _parse_json(data: bytes, where: str) -> object:
    try:
        return json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise BadInput(f"{where}: not valid JSON; the file is damaged or is something else") from None


def _parse_weights(data: bytes, where: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = parse_safetensors(data)
    except SafetensorError as error:
        raise BadInput(f"{where}: not a whole safetensors file ({error}); copy it again") from error
    factor = tensors.pop("scaling_factor", None)  # SAELens wrote a vector of ones here for a while
    if factor is not None and not torch.equal(factor, torch.ones_like(factor)):
        raise BadInput(f"{where}: it holds a scaling factor; fold it into the weights first")
    return {name: tensor.to(torch.float32) for name, tensor in tensors.items()}


def _check_files(folder: Path, manifest: Mapping[str, Any], contents: Mapping[str, bytes]) -> None:
    for name, data in contents.items():
        entry = manifest.get("files", {}).get(name)
        if entry is None:
            raise BadInput(f"{folder / MANIFEST_FILE}: says nothing about {name}; the manifest is damaged")
        found = content_entry(data)
        if found["bytes"] != entry["bytes"]:
            raise BadInput(f"{folder / name}: {found['bytes']} bytes, {entry['bytes']} expected; copy it again")
        if found["sha256"] != entry["sha256"]:
            raise BadInput(f"{folder / name}: damaged (its checksum differs from the manifest's); copy it again")


def _check_tensors(cls: type[Dictionary], config: SaeLensConfig, tensors: Mapping[str, Tensor], where: str) -> None:
    expected = cls.tensor_shapes(config.d_in, config.d_sae)
    if set(tensors) != set(expected):
        raise BadInput(f"{where}: holds {sorted(tensors)}, but {config.architecture!r} has {sorted(expected)}")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise BadInput(f"{where}: {name} is {list(tensors[name].shape)}, {CONFIG_FILE} makes it {list(shape)}")
        if not torch.isfinite(tensors[name]).all():
            raise BadInput(f"{where}: {name} holds values that are not finite")
