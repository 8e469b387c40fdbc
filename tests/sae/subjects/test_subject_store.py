"""The folder of a subject: what is saved is what is loaded, and what is damaged is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sae.errors import BadInput
from sae.subjects import OneLayerConfig, OneLayerSubject, OneLayerTransformer, load_subject, save_subject

CONFIG = OneLayerConfig(d_model=8, n_heads=2, d_mlp=12, d_vocab=20, n_ctx=6)
TOKENS = torch.tensor([[1, 2, 3, 19, 0, 5]])


def model() -> OneLayerTransformer:
    made = OneLayerTransformer(CONFIG)
    made.init_weights(np.random.default_rng(0))
    return made


def write(folder: Path, dtype: str = "float32") -> OneLayerTransformer:
    made = model()
    save_subject(
        folder,
        made,
        name="toy",
        corpus={"name": "text", "tokenizer_sha256": "00"},
        training={"tokens": 1},
        dtype=dtype,
        companions={"tokenizer.json": b"{}", "vocab.json": b"[]"},
    )
    return made


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    made = write(tmp_path)
    subject = load_subject(str(tmp_path))
    assert subject.name == "toy"
    assert (subject.context, subject.vocab_size) == (6, 20)
    assert subject.fingerprint == OneLayerSubject(made, "toy").fingerprint
    assert torch.equal(subject.logits(TOKENS), OneLayerSubject(made, "toy").logits(TOKENS))


def test_half_precision_rounds_each_weight_once(tmp_path: Path) -> None:
    made = write(tmp_path, "float16")
    subject = load_subject(str(tmp_path))
    assert isinstance(subject, OneLayerSubject)
    for name, tensor in subject.model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert np.array_equal(tensor.numpy(), made.state_dict()[name].numpy().astype(np.float16).astype(np.float32))
    assert subject.fingerprint != OneLayerSubject(made, "toy").fingerprint
    assert all(tensor.dtype == torch.float16 for tensor in load_file(tmp_path / "weights.safetensors").values())


def test_the_manifest_lists_each_file_with_its_checksum(tmp_path: Path) -> None:
    write(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"], manifest["dtype"]) == ("sae-subject", 1, "float32")
    assert set(manifest["files"]) == {"weights.safetensors", "tokenizer.json", "vocab.json"}
    empty_object = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # printf '{}' | sha256sum
    assert manifest["files"]["tokenizer.json"] == {"sha256": empty_object, "bytes": 2}


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(bytes(content))


def truncate(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:-7])


def edit(**changes: Any) -> Callable[[Path], None]:
    def in_manifest(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | changes))

    return in_manifest


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip_a_bit, "weights.safetensors: damaged"),
        (truncate, "weights.safetensors: damaged"),
        (lambda folder: (folder / "vocab.json").unlink(), "vocab.json: missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "holds no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json: cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "not the manifest of a subject"),
        (edit(format="sae-corpus"), "not the manifest of a subject"),
        (edit(version=2), "version 2 of the format; this program reads version 1"),
        (edit(files={}), "lists no weights.safetensors"),
        (edit(config={"d_model": 8, "n_heads": 2, "d_mlp": 13, "d_vocab": 20, "n_ctx": 6}), "do not fit"),
        (edit(config={"width": 8}), "do not fit"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    write(tmp_path)
    damage(tmp_path)
    with pytest.raises(BadInput, match=said) as caught:
        load_subject(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_weights_that_a_dtype_cannot_hold_are_not_written(tmp_path: Path) -> None:
    made = model()
    with torch.no_grad():
        made.unembed.W_U[0, 0] = 1e5
    options: dict[str, Any] = {"name": "big", "corpus": {}, "training": {}, "companions": {}}
    with pytest.raises(BadInput, match=r"unembed\.W_U is not finite in float16"):
        save_subject(tmp_path, made, dtype="float16", **options)
    with pytest.raises(BadInput, match="float16 or float32"):
        save_subject(tmp_path, made, dtype="int8", **options)
    assert not (tmp_path / "manifest.json").exists()
