"""Dictionaries on disk: round trips, SAELens' three forms of cfg.json made by hand, and damaged folders."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae.dictionaries import (
    ARCHITECTURES,
    Dictionary,
    ReluL1,
    export_dictionary,
    load_dictionary,
    read_manifest,
    save_dictionary,
)
from sae.errors import BadInput

HOOK = "blocks.8.hook_resid_pre"

FLAT_OLDEST: dict[str, Any] = {
    # As published with the first GPT-2 dictionaries: no architecture, no apply_b_dec_to_input.
    "model_name": "gpt2-small",
    "hook_point": HOOK,
    "hook_point_layer": 8,
    "hook_point_head_index": None,
    "context_size": 128,
    "d_in": 3,
    "d_sae": 5,
    "dtype": "torch.float32",
    "activation_fn_str": "relu",
    "finetuning_scaling_factor": False,
    "normalize_activations": "none",
}
FLAT_LATER: dict[str, Any] = {
    "architecture": "standard",
    "d_in": 3,
    "d_sae": 5,
    "activation_fn": "relu",
    "apply_b_dec_to_input": True,
    "model_name": "gpt2-small",
    "hook_name": HOOK,
    "hook_layer": 8,
    "hook_head_index": None,
    "prepend_bos": True,
    "normalize_activations": "none",
    "sae_lens_training_version": "3.20.1",
}
NESTED: dict[str, Any] = {
    "architecture": "standard",
    "d_in": 3,
    "d_sae": 5,
    "dtype": "float32",
    "device": "cpu",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "reshape_activations": "none",
    "metadata": {"sae_lens_version": "6.12.1", "model_name": "gpt2-small", "hook_name": HOOK, "hook_head_index": None},
}
NESTED_CANDIDATE: dict[str, Any] = {
    **{key: value for key, value in NESTED.items() if key != "metadata"},
    "meta": {"sae_lens_version": "6.0.0-rc.1", "hook_name": HOOK, "hook_layer": 8, "hook_head_index": None},
}


def weights(seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (3, 5), "b_enc": (5,), "W_dec": (5, 3), "b_dec": (3,)}
    return {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(tensors or weights(), folder / "sae_weights.safetensors")
    return folder


def ours(folder: Path, **options: Any) -> ReluL1:
    dictionary = ReluL1(**weights(), hook_name=HOOK, **options)
    save_dictionary(dictionary, folder, {"name": "mine", "subject": {"name": "A", "fingerprint": "f"}})
    return dictionary


@pytest.mark.parametrize("config", [FLAT_OLDEST, FLAT_LATER, NESTED, NESTED_CANDIDATE])
@pytest.mark.parametrize("apply_b_dec", [True, False, None])
def test_saelens_files_are_read_and_give_saelens_numbers(
    tmp_path: Path, config: dict[str, Any], apply_b_dec: bool | None
) -> None:
    config = {key: value for key, value in config.items() if key != "apply_b_dec_to_input"}
    if apply_b_dec is not None:
        config["apply_b_dec_to_input"] = apply_b_dec
    tensors = weights()
    dictionary = load_dictionary(write(tmp_path, config, tensors))
    assert (dictionary.d_in, dictionary.d_sae, dictionary.hook_name) == (3, 5, HOOK)
    x = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(1))
    centred = x if apply_b_dec is False else x - tensors["b_dec"]  # missing: SAELens takes it as true
    latents = torch.relu(centred @ tensors["W_enc"] + tensors["b_enc"])
    assert 0 < int((latents > 0).sum()) < latents.numel()
    torch.testing.assert_close(dictionary.encode(x), latents)
    torch.testing.assert_close(dictionary.decode(latents), latents @ tensors["W_dec"] + tensors["b_dec"])


@pytest.mark.parametrize("apply_b_dec", [True, False])
def test_the_affine_map_folds_what_stands_before_the_encoder(apply_b_dec: bool) -> None:
    dictionary = ReluL1(**weights(), hook_name=HOOK, apply_b_dec_to_input=apply_b_dec)
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(2))
    weight, bias = dictionary.encoder_affine()
    torch.testing.assert_close(dictionary.activation(x @ weight + bias), dictionary.encode(x))
    expected = weights()["b_enc"] - (weights()["b_dec"] @ weights()["W_enc"] if apply_b_dec else 0)
    torch.testing.assert_close(bias, expected)


def test_what_is_saved_is_loaded_with_the_same_bits(tmp_path: Path) -> None:
    dictionary = ours(tmp_path, apply_b_dec_to_input=False)
    loaded = load_dictionary(tmp_path)
    assert isinstance(loaded, ReluL1)
    assert loaded.apply_b_dec_to_input is False
    for name, tensor in dictionary.tensors().items():
        assert torch.equal(loaded.tensors()[name], tensor)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["fingerprint"] == dictionary.fingerprint() == loaded.fingerprint()
    assert (manifest["format"], manifest["version"], manifest["name"]) == ("sae-dictionary", 1, "mine")
    assert not list(tmp_path.glob("*.part"))


def test_what_is_saved_has_the_layout_saelens_reads(tmp_path: Path) -> None:
    ours(tmp_path)
    config = json.loads((tmp_path / "cfg.json").read_text())
    assert config["architecture"] == "standard"
    assert (config["d_in"], config["d_sae"], config["dtype"]) == (3, 5, "float32")
    assert config["apply_b_dec_to_input"] is True
    assert config["normalize_activations"] == "none"
    # Without a version of 6 or later under "metadata" SAELens takes a file for a flat one and loses the hook.
    assert int(config["metadata"]["sae_lens_version"].split(".")[0]) >= 6
    assert config["metadata"]["hook_name"] == HOOK
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == {
        "W_enc": [3, 5],
        "b_enc": [5],
        "W_dec": [5, 3],
        "b_dec": [3],
    }


def test_every_architecture_has_a_saelens_name_of_its_own() -> None:
    names = [cls.saelens_architecture for cls in ARCHITECTURES.values()]
    assert len(set(names)) == len(names)
    assert all(issubclass(cls, Dictionary) and cls.architecture == name for name, cls in ARCHITECTURES.items())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_an_export_is_a_whole_dictionary_in_its_precision(tmp_path: Path, dtype: str) -> None:
    original = ours(tmp_path / "a")
    manifest = export_dictionary(tmp_path / "a", tmp_path / "b", dtype=dtype)
    stored = load_file(tmp_path / "b" / "sae_weights.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {getattr(torch, dtype)}
    loaded = load_dictionary(tmp_path / "b")
    for name, tensor in original.tensors().items():
        assert loaded.tensors()[name].dtype == torch.float32
        assert torch.equal(loaded.tensors()[name], tensor.to(getattr(torch, dtype)).float())
    assert manifest["fingerprint"] == loaded.fingerprint()
    assert (loaded.fingerprint() == original.fingerprint()) == (dtype == "float32")
    assert manifest["exported_from"] == {"fingerprint": original.fingerprint(), "dtype": "float32"}
    assert (manifest["name"], manifest["subject"]["name"], manifest["dtype"]) == ("mine", "A", dtype)


def test_a_dictionary_of_saelens_can_be_exported(tmp_path: Path) -> None:
    write(tmp_path / "theirs", FLAT_LATER)
    manifest = export_dictionary(tmp_path / "theirs", tmp_path / "half", dtype="float16")
    assert manifest["name"] == "theirs"
    assert load_dictionary(tmp_path / "half").hook_name == HOOK


def test_weights_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    large = weights()
    large["b_enc"][2] = 1e6
    write(tmp_path / "large", NESTED, large)
    with pytest.raises(BadInput, match=r"b_enc holds a value that is not finite in float16"):
        export_dictionary(tmp_path / "large", tmp_path / "half", dtype="float16")
    assert not (tmp_path / "half").exists()


def test_an_export_does_not_overwrite(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    ours(tmp_path / "b")
    with pytest.raises(BadInput, match="not empty; export into a new folder"):
        export_dictionary(tmp_path / "a", tmp_path / "b", dtype="float16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "transcoder"}, r"architecture 'transcoder' cannot be read; known: standard"),
        ({"activation_fn": "topk"}, r"activation function 'topk' is not supported for 'standard'; known: relu"),
        ({"activation_fn_str": "tanh-relu"}, r"activation function 'tanh-relu'"),
        ({"normalize_activations": "layer_norm"}, r"normalised by 'layer_norm'"),
        ({"normalize_activations": True}, r"normalised by True"),
        ({"finetuning_scaling_factor": True}, r"finetuning_scaling_factor is set"),
        ({"metadata": {"hook_name": HOOK, "hook_head_index": 3}}, r"over one head"),
        ({"metadata": {}}, r"no hook_name"),
        ({"d_in": None}, r"d_in must be a positive whole number, found None"),
        ({"d_sae": 0}, r"d_sae must be a positive whole number"),
        ({"d_sae": 6}, r"W_enc is \[3, 5\], cfg.json makes it \[3, 6\]"),
        ({"apply_b_dec_to_input": "yes"}, r"apply_b_dec_to_input must be true or false"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        load_dictionary(write(tmp_path, {**NESTED, **change}))
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_scaling_factor_of_ones_is_nothing_and_any_other_is_refused(tmp_path: Path) -> None:
    load_dictionary(write(tmp_path / "ones", FLAT_LATER, {**weights(), "scaling_factor": torch.ones(5)}))
    with pytest.raises(BadInput, match="scaling factor; fold it into the weights"):
        load_dictionary(write(tmp_path / "twos", FLAT_LATER, {**weights(), "scaling_factor": torch.full((5,), 2.0)}))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"threshold": torch.ones(5)}, r"holds .*'threshold'.*, but 'standard' has"),
        ({"b_enc": torch.full((5,), float("nan"))}, r"b_enc holds values that are not finite"),
    ],
)
def test_tensors_that_do_not_belong_are_refused(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_dictionary(write(tmp_path, NESTED, {**weights(), **tensors}))


@pytest.mark.parametrize("manifest", [True, False])
@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_truncated_weights_are_refused_in_one_line(tmp_path: Path, keep: int, manifest: bool) -> None:
    ours(tmp_path)
    if not manifest:
        (tmp_path / "manifest.json").unlink()
    path = tmp_path / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=re.escape(str(path))) as error:
        load_dictionary(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["cfg.json", "sae_weights.safetensors"])
def test_one_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    ours(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[-9] ^= 1
    (tmp_path / name).write_bytes(bytes(data))
    with pytest.raises(BadInput, match=rf"{name}: damaged \(its checksum differs"):
        load_dictionary(tmp_path)


@pytest.mark.parametrize("name", ["cfg.json", "sae_weights.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    ours(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadInput, match=rf"{name}: missing"):
        load_dictionary(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', "\x00"])
def test_a_configuration_that_is_not_one_is_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path, NESTED)
    (tmp_path / "cfg.json").write_text(content)
    with pytest.raises(BadInput, match=r"cfg\.json: (not valid JSON|a dictionary's configuration is a JSON object)"):
        load_dictionary(tmp_path)


def test_a_newer_or_foreign_manifest_is_refused(tmp_path: Path) -> None:
    ours(tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    for change, message in (({"version": 2}, "version 2, this program reads version 1"), ({"format": "x"}, "not the")):
        path.write_text(json.dumps({**manifest, **change}))
        with pytest.raises(BadInput, match=message):
            load_dictionary(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere: no such folder"):
        load_dictionary(tmp_path / "nowhere")
