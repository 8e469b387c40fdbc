"""Causal language models of Hugging Face as subjects, with TransformerLens hook names.

Known layouts: Llama and its like (Mistral, Qwen, Gemma, SmolLM, ...), GPT-2, GPT-NeoX (Pythia).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sae.errors import BadInput
from sae.subjects.base import check_replacement, check_tokens, fingerprint_of, known_fingerprint
from sae.subjects.pretrained import FAILURES, one_line, pretrained_fingerprint, source_of

_HOOK = re.compile(r"blocks\.(\d+)\.(hook_resid_pre|mlp\.hook_post|hook_mlp_out|hook_resid_post)")


@dataclass(frozen=True)
class _Layout:
    """Where a family of models keeps its parts: dotted paths from the causal LM, or from a layer for `mlp_out`."""

    layers: str
    mlp_out: str
    final_norm: str


_LAYOUTS = (
    _Layout(layers="model.layers", mlp_out="mlp.down_proj", final_norm="model.norm"),
    _Layout(layers="transformer.h", mlp_out="mlp.c_proj", final_norm="transformer.ln_f"),
    _Layout(layers="gpt_neox.layers", mlp_out="mlp.dense_4h_to_h", final_norm="gpt_neox.final_layer_norm"),
)


class _Stop(Exception):
    """Not an error: how a forward pass is left early."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


class HuggingFaceSubject:
    """A causal LM as a subject: see `sae.subjects.base.Subject` for what each member means.

    Hooks of layer L: blocks.L.hook_resid_pre and hook_resid_post (the layer's input and output), mlp.hook_post (input
    of the MLP's last projection), hook_mlp_out (output of the MLP). Raises BadInput for a model of unknown layout.
    """

    exported_from: str | None = None

    def __init__(self, model: nn.Module, name: str, *, read_tokenizer: Callable[[], str] | None = None) -> None:
        """`read_tokenizer` gives the fingerprint of its tokenizer; without it no corpus can be read."""
        self.model, self.name, self._read_tokenizer = model.eval(), name, read_tokenizer
        self._layout = _layout_of(model, name)
        self._layers = list(model.get_submodule(self._layout.layers).children())
        config: Any = model.config
        self.context, self.vocab_size = int(config.max_position_embeddings), int(config.vocab_size)
        parts = ("hook_resid_pre", "mlp.hook_post", "hook_mlp_out", "hook_resid_post")
        self.hooks = tuple(f"blocks.{layer}.{part}" for layer in range(len(self._layers)) for part in parts)
        self._widths: dict[str, int] = {}

    @cached_property
    def fingerprint(self) -> str:
        """See `Subject`; hashing billions of weights takes seconds, so it waits until it is asked for."""
        return fingerprint_of(self.model)

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """See `Subject`; a large tokenizer takes seconds, too."""
        return known_fingerprint(self.name, self._read_tokenizer)

    def width(self, hook: str) -> int:
        if hook not in self._widths:
            self._widths[hook] = self.activations(torch.zeros(1, 1, dtype=torch.int64), hook).shape[-1]
        return self._widths[hook]

    @torch.no_grad()
    def activations(self, tokens: Tensor, hook: str) -> Tensor:
        check_tokens(self, tokens)

        def stop(value: Tensor) -> Tensor:
            raise _Stop(value)

        with self._hooked(hook, stop):
            try:
                self._forward(tokens)
            except _Stop as stopped:
                return stopped.value
        raise AssertionError(f"{self.name}: the forward pass did not come by {hook}")

    @torch.no_grad()
    def logits(self, tokens: Tensor, *, hook: str | None = None, replacement: Tensor | None = None) -> Tensor:
        check_tokens(self, tokens)
        check_replacement(self, tokens, hook, replacement)
        if hook is None or replacement is None:
            return self._forward(tokens)
        put = replacement
        with self._hooked(hook, lambda value: put.to(value.dtype)):
            return self._forward(tokens)

    @torch.no_grad()
    def logit_directions(self, hook: str) -> Tensor | None:
        """Of the last layer's MLP and residual stream; None before it, and where a norm follows the MLP itself."""
        layer, part = self._place(hook)
        block = self._layers[layer]
        if layer < len(self._layers) - 1 or part == "hook_resid_pre" or hasattr(block, "post_feedforward_layernorm"):
            return None
        unembedding: Any = self.model.get_output_embeddings()  # type: ignore[operator]
        W_U: Tensor = unembedding.weight.T
        writes = torch.eye(len(W_U), dtype=W_U.dtype)
        if part == "mlp.hook_post":
            projection = block.get_submodule(self._layout.mlp_out)
            weight: Any = projection.weight
            writes = weight.T if isinstance(projection, nn.Linear) else weight  # GPT-2's Conv1D is [in, out]
        norm = self.model.get_submodule(self._layout.final_norm)
        if isinstance(norm, nn.LayerNorm):
            writes = writes - writes.mean(dim=1, keepdim=True)
        return (writes * _gain(norm, len(W_U), W_U.dtype)) @ W_U

    def to(self, dtype: torch.dtype) -> HuggingFaceSubject:
        if next(self.model.parameters()).dtype == dtype:
            return self
        return self.with_model(copy.deepcopy(self.model).to(dtype), self.name)

    def with_model(self, model: nn.Module, name: str) -> HuggingFaceSubject:
        return HuggingFaceSubject(model, name, read_tokenizer=self._read_tokenizer)

    def _forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=tokens, use_cache=False).logits
        return logits

    def _place(self, hook: str) -> tuple[int, str]:
        match = _HOOK.fullmatch(hook)
        if match is None or int(match[1]) >= len(self._layers):
            raise BadInput(
                f"{self.name}: there is no hook {hook!r}; its hooks are blocks.L.hook_resid_pre, "
                "blocks.L.mlp.hook_post, blocks.L.hook_mlp_out and blocks.L.hook_resid_post, "
                f"with L from 0 to {len(self._layers) - 1}"
            )
        return int(match[1]), match[2]

    @contextmanager
    def _hooked(self, hook: str, change: Any) -> Iterator[None]:
        """Within this, what passes the hook is replaced by `change` of it."""
        layer, part = self._place(hook)
        block = self._layers[layer]

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
            if args:
                return (change(args[0]), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": change(kwargs["hidden_states"])}

        def after(_: nn.Module, __: Any, output: Any) -> Any:
            return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

        if part == "mlp.hook_post":
            handle = block.get_submodule(self._layout.mlp_out).register_forward_pre_hook(before, with_kwargs=True)
        elif part == "hook_resid_pre":
            handle = block.register_forward_pre_hook(before, with_kwargs=True)
        else:
            module = block.get_submodule("mlp") if part == "hook_mlp_out" else block
            handle = module.register_forward_hook(after)
        try:
            yield
        finally:
            handle.remove()


def load_hugging_face(place: str) -> HuggingFaceSubject:
    """A subject from a hub name, a folder of transformers or a .gguf file, in float32.

    Raises BadInput if transformers is not installed or the model cannot be had; for a name that is none at once.
    """
    source = source_of(place)
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    except FAILURES as error:
        raise BadInput(
            f"{place}: neither a folder of `sae subject train` nor a causal language model of Hugging Face that can "
            f"be loaded ({one_line(error)})"
        ) from error
    path = Path(place)
    name = path.stem if path.suffix == ".gguf" else path.name if path.exists() else place
    return HuggingFaceSubject(model, name, read_tokenizer=lambda: pretrained_fingerprint(place))


def _layout_of(model: nn.Module, name: str) -> _Layout:
    for layout in _LAYOUTS:
        if _has(model, f"{layout.layers}.0.{layout.mlp_out}") and _has(model, layout.final_norm):
            return layout
    raise BadInput(
        f"{name}: {type(model).__name__} has no layout known here; known are those of Llama, GPT-2 and GPT-NeoX"
    )


def _has(model: nn.Module, path: str) -> bool:
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True


def _gain(norm: nn.Module, width: int, dtype: torch.dtype) -> Tensor:
    """The gain of a layer norm or RMS norm, [width], found by trying: Gemma's stored weight is the gain less one."""
    signs = torch.ones(width, dtype=dtype)
    signs[1::2] = -1  # mean 0 and mean square 1, so that the norm only applies its gain and bias
    gain: Tensor = (norm(signs) - norm(torch.zeros(width, dtype=dtype))) / signs
    return gain
