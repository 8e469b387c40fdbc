"""The configuration file of SAELens (cfg.json): reading its flat and nested forms, writing the nested one.

Three forms are about. Before version 6 the file was flat, at first with `hook_point` and `activation_fn_str`,
later with `hook_name` and `activation_fn`; release candidates of version 6 nested the hook under `meta`, and
version 6 nests it under `metadata`. What would change the numbers (a normalisation of the input, another
activation function, a head's slice) is refused when it cannot be honoured: an ignored setting is a wrong result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sae.errors import BadInput

_LAYOUT_VERSION = "6.0.0"
"""The SAELens release whose layout is written; without it SAELens takes the file for a flat one."""

_RENAMED = {
    "hook_point": "hook_name",
    "hook_point_layer": "hook_layer",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}


@dataclass(frozen=True)
class SaeLensConfig:
    """What a cfg.json says, in one form. `metadata` is what describes the subject and its text."""

    architecture: str
    d_in: int
    d_sae: int
    hook_name: str
    apply_b_dec_to_input: bool
    metadata: Mapping[str, Any]


def parse_config(raw: object, where: str) -> SaeLensConfig:
    """Read the content of a cfg.json of any of the three forms.

    Raises BadInput, in one line that begins with `where`, for a missing or malformed field and for a setting that
    would be ignored.
    """
    if not isinstance(raw, dict):
        raise BadInput(f"{where}: a dictionary's configuration is a JSON object, this is not one")
    flat = _flatten(raw)
    _refuse_what_cannot_be_honoured(flat, where)
    hook_name = flat.get("hook_name")
    if not isinstance(hook_name, str) or not hook_name:
        raise BadInput(f"{where}: no hook_name (or hook_point), so the hook it was trained on is unknown")
    apply_b_dec = flat.get("apply_b_dec_to_input", True)
    if not isinstance(apply_b_dec, bool):
        raise BadInput(f"{where}: apply_b_dec_to_input must be true or false, found {apply_b_dec!r}")
    architecture = flat.get("architecture", "standard")  # files older than the field hold only that one
    return SaeLensConfig(
        architecture=str(architecture),
        d_in=_size(flat, "d_in", where),
        d_sae=_size(flat, "d_sae", where),
        hook_name=hook_name,
        apply_b_dec_to_input=apply_b_dec,
        metadata=_metadata(raw),
    )


def render_config(
    *,
    architecture: str,
    d_in: int,
    d_sae: int,
    hook_name: str,
    dtype: str,
    settings: Mapping[str, Any],
    model_name: str | None = None,
    context_size: int | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """The cfg.json of version 6 for these weights. The subjects here see no beginning-of-sequence token."""
    return {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": dtype,
        "device": "cpu",
        "normalize_activations": "none",
        "reshape_activations": "none",
        **settings,
        "metadata": {
            "sae_lens_version": _LAYOUT_VERSION,
            "model_name": model_name,
            "hook_name": hook_name,
            "hook_head_index": None,
            "prepend_bos": False,
            "context_size": context_size,
            "dataset_path": dataset,
        },
    }


def _metadata(raw: Mapping[str, Any]) -> dict[str, Any]:
    nested = raw.get("metadata", raw.get("meta"))
    if isinstance(nested, dict):
        return dict(nested)
    return {_RENAMED.get(key, key): value for key, value in raw.items()}


def _flatten(raw: Mapping[str, Any]) -> dict[str, Any]:
    """One level, newest names; a nested field wins over a flat one of the same name."""
    own = {_RENAMED.get(key, key): value for key, value in raw.items() if key not in ("meta", "metadata")}
    nested = raw.get("metadata", raw.get("meta"))
    return {**own, **nested} if isinstance(nested, dict) else own


def _size(flat: Mapping[str, Any], field: str, where: str) -> int:
    value = flat.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInput(f"{where}: {field} must be a positive whole number, found {value!r}")
    return value


def _refuse_what_cannot_be_honoured(flat: Mapping[str, Any], where: str) -> None:
    normalisation = flat.get("normalize_activations")
    if normalisation not in (None, False, "none"):
        raise BadInput(
            f"{where}: it expects activations normalised by {normalisation!r}, which is not supported; "
            "fold the normalisation into the weights first"
        )
    activation = flat.get("activation_fn", "relu")
    if flat.get("architecture", "standard") == "standard" and activation != "relu":
        raise BadInput(f"{where}: activation function {activation!r} is not supported for 'standard'; known: relu")
    if flat.get("finetuning_scaling_factor"):
        raise BadInput(f"{where}: finetuning_scaling_factor is set; fold the scaling factor into the weights first")
    if flat.get("hook_head_index") is not None:
        raise BadInput(f"{where}: a dictionary over one head (hook_head_index) is not supported")
