"""The one-layer ReLU transformer of "Towards Monosemanticity" (Bricken et al. 2023), to be read in one sitting.

Parameters and hooks carry TransformerLens names (`blocks.0.mlp.W_in`, `blocks.0.mlp.hook_post`), so that a saved
model can be read by its tools. Layer norm before each sublayer and before the unembedding, learned positions, an
unembedding that is not tied to the embedding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sae.errors import BadInput
from sae.subjects.base import check_replacement, check_tokens, fingerprint_of, is_weight_matrix, known_fingerprint

MLP_HOOK = "blocks.0.mlp.hook_post"
"""Where the dictionary of the paper is trained: the MLP's activations after the ReLU."""

HOOKS = (
    "blocks.0.hook_resid_pre",
    "blocks.0.attn.hook_z",
    "blocks.0.hook_resid_mid",
    MLP_HOOK,
    "blocks.0.hook_mlp_out",
    "blocks.0.hook_resid_post",
)
"""The hooks in the order of the forward pass. `hook_z` has its heads side by side: width n_heads * d_head."""


@dataclass(frozen=True)
class OneLayerConfig:
    """Sizes of the model; the defaults are the paper's, with a vocabulary and context of this project's scale.

    Raises BadInput for a size below 1 and for a residual width that its heads do not divide.
    """

    d_model: int = 128
    n_heads: int = 4
    d_mlp: int = 512
    d_vocab: int = 4096
    n_ctx: int = 128
    eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("d_model", "n_heads", "d_mlp", "d_vocab", "n_ctx"):
            if getattr(self, name) < 1:
                raise BadInput(f"one-layer model: {name} is {getattr(self, name)}; it must be at least 1")
        if self.d_model % self.n_heads:
            raise BadInput(f"one-layer model: d_model {self.d_model} is not a multiple of the {self.n_heads} heads")

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads


class Embed(nn.Module):
    """Token embedding, W_E [d_vocab, d_model]."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.W_E = nn.Parameter(torch.zeros(config.d_vocab, config.d_model))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.W_E)


class PosEmbed(nn.Module):
    """Learned position embedding, W_pos [n_ctx, d_model]."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.W_pos = nn.Parameter(torch.zeros(config.n_ctx, config.d_model))

    def forward(self, length: int) -> Tensor:
        return self.W_pos[:length]


class LayerNorm(nn.Module):
    """Layer norm over the residual width with gain w and bias b."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(config.d_model))
        self.b = nn.Parameter(torch.zeros(config.d_model))
        self.eps = config.eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.w.shape, self.w, self.b, self.eps)


class Attention(nn.Module):
    """Causal attention. W_Q, W_K, W_V [n_heads, d_model, d_head], W_O [n_heads, d_head, d_model]."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        heads, d_model, d_head = config.n_heads, config.d_model, config.d_head
        self.W_Q = nn.Parameter(torch.zeros(heads, d_model, d_head))
        self.W_K = nn.Parameter(torch.zeros(heads, d_model, d_head))
        self.W_V = nn.Parameter(torch.zeros(heads, d_model, d_head))
        self.W_O = nn.Parameter(torch.zeros(heads, d_head, d_model))
        self.b_Q = nn.Parameter(torch.zeros(heads, d_head))
        self.b_K = nn.Parameter(torch.zeros(heads, d_head))
        self.b_V = nn.Parameter(torch.zeros(heads, d_head))
        self.b_O = nn.Parameter(torch.zeros(d_model))

    def z(self, x: Tensor) -> Tensor:
        """x [batch, pos, d_model] -> attention-weighted values, heads side by side [batch, pos, n_heads * d_head]."""
        batch, pos, d_model = x.shape
        heads, _, d_head = self.W_Q.shape
        # One product for queries, keys and values of all heads: thin matrices waste a CPU's matrix unit.
        W = torch.stack([self.W_Q, self.W_K, self.W_V]).permute(2, 0, 1, 3).reshape(d_model, -1)
        b = torch.stack([self.b_Q, self.b_K, self.b_V]).reshape(-1)
        qkv = affine(x, W, b).view(batch, pos, 3, heads, d_head)
        q, k, v = _at_least_float32(qkv).permute(2, 0, 3, 1, 4)
        with torch.autocast("cpu", enabled=False):
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return z.transpose(1, 2).reshape(batch, pos, heads * d_head).to(self.W_O.dtype)

    def out(self, z: Tensor) -> Tensor:
        """z [batch, pos, n_heads * d_head] -> what attention adds to the residual stream [batch, pos, d_model]."""
        return affine(z, self.W_O.flatten(0, 1), self.b_O)


class MLP(nn.Module):
    """The layer under study. W_in [d_model, d_mlp], W_out [d_mlp, d_model]."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.W_in = nn.Parameter(torch.zeros(config.d_model, config.d_mlp))
        self.b_in = nn.Parameter(torch.zeros(config.d_mlp))
        self.W_out = nn.Parameter(torch.zeros(config.d_mlp, config.d_model))
        self.b_out = nn.Parameter(torch.zeros(config.d_model))

    def post(self, x: Tensor) -> Tensor:
        """x [batch, pos, d_model] -> activations of the neurons, >= 0, [batch, pos, d_mlp]."""
        return F.relu(affine(x, self.W_in, self.b_in))

    def out(self, post: Tensor) -> Tensor:
        """post [batch, pos, d_mlp] -> what the MLP adds to the residual stream [batch, pos, d_model]."""
        return affine(post, self.W_out, self.b_out)


class Block(nn.Module):
    """The transformer's only layer."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.ln1 = LayerNorm(config)
        self.attn = Attention(config)
        self.ln2 = LayerNorm(config)
        self.mlp = MLP(config)


class Unembed(nn.Module):
    """W_U [d_model, d_vocab], without a bias: the one of the final layer norm does its work."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.W_U = nn.Parameter(torch.zeros(config.d_model, config.d_vocab))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.W_U


class OneLayerTransformer(nn.Module):
    """Embedding, one block, unembedding. A new model is all zeros until `init_weights` or `load_state_dict`."""

    def __init__(self, config: OneLayerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = Embed(config)
        self.pos_embed = PosEmbed(config)
        self.blocks = nn.ModuleList([Block(config)])
        self.ln_final = LayerNorm(config)
        self.unembed = Unembed(config)

    @torch.no_grad()
    def init_weights(self, rng: np.random.Generator) -> None:
        """Draw every weight matrix from N(0, s); those that write to the residual stream from N(0, s / sqrt 2).

        s = .8 / sqrt(d_model), the rule of TransformerLens; GPT-2's .02 is that of its own, larger widths, and
        starts a narrow model slowly. Two sublayers write to the stream, hence sqrt 2 (GPT-2). Biases stay 0, gains 1.
        """
        scale = 0.8 / math.sqrt(self.config.d_model)
        for name, parameter in self.named_parameters():
            if is_weight_matrix(name, parameter):
                deviation = scale / math.sqrt(2.0) if name.endswith(("W_O", "W_out")) else scale
                values = rng.standard_normal(tuple(parameter.shape), dtype=np.float32)
                parameter.copy_(torch.from_numpy(values * np.float32(deviation)))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens int64 [batch, pos] -> logits [batch, pos, d_vocab]."""
        logits: Tensor = self.unembed(self.final(tokens))
        return logits

    def final(self, tokens: Tensor, hook: str | None = None, replacement: Tensor | None = None) -> Tensor:
        """tokens int64 [batch, pos] -> what the unembedding reads, [batch, pos, d_model].

        `replacement` [batch, pos, width] is put in the place of the hook's activations.
        """
        stages = self._stages(tokens)
        name, value = next(stages)
        while True:
            try:
                name, value = stages.send(replacement if name == hook and replacement is not None else value)
            except StopIteration as end:
                final: Tensor = end.value
                return final

    def activations(self, tokens: Tensor, hook: str) -> Tensor:
        """tokens int64 [batch, pos] -> activations [batch, pos, width]; nothing after the hook is computed.

        Raises KeyError if the model has no such hook.
        """
        for name, value in self._stages(tokens):
            if name == hook:
                return value
        raise KeyError(hook)

    def _stages(self, tokens: Tensor) -> Generator[tuple[str, Tensor], Tensor | None, Tensor]:
        """The forward pass. Yields each hook with its value and goes on with what is sent back (None: the same)."""

        block = self.blocks[0]
        assert isinstance(block, Block)

        def at(name: str, value: Tensor) -> Generator[tuple[str, Tensor], Tensor | None, Tensor]:
            sent = yield name, value
            return value if sent is None else sent

        x = yield from at("blocks.0.hook_resid_pre", self.embed(tokens) + self.pos_embed(tokens.shape[1]))
        z = yield from at("blocks.0.attn.hook_z", block.attn.z(block.ln1(x)))
        x = yield from at("blocks.0.hook_resid_mid", x + block.attn.out(z))
        post = yield from at(MLP_HOOK, block.mlp.post(block.ln2(x)))
        out = yield from at("blocks.0.hook_mlp_out", block.mlp.out(post))
        x = yield from at("blocks.0.hook_resid_post", x + out)
        final: Tensor = self.ln_final(x)
        return final


def affine(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """x [..., n] @ W [n, m] + b [m]; one addmm, which autocast runs in its lower precision, bias included."""
    return torch.addmm(b, x.flatten(0, -2), W).view(*x.shape[:-1], -1)


def _at_least_float32(x: Tensor) -> Tensor:
    # The softmax wants it, and on CPUs the backward pass of bfloat16 attention takes three times as long.
    return x.to(torch.promote_types(x.dtype, torch.float32))


class OneLayerSubject:
    """The one-layer transformer as a subject: see `sae.subjects.base.Subject` for what each member means."""

    hooks: tuple[str, ...] = HOOKS

    def __init__(
        self,
        model: OneLayerTransformer,
        name: str,
        *,
        exported_from: str | None = None,
        read_tokenizer: Callable[[], str] | None = None,
    ) -> None:
        """`read_tokenizer` gives the fingerprint of its tokenizer; without it no corpus can be read."""
        self.model, self.name, self.exported_from = model.eval(), name, exported_from
        self._read_tokenizer = read_tokenizer
        self.fingerprint = fingerprint_of(model)
        self.context, self.vocab_size = model.config.n_ctx, model.config.d_vocab

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        return known_fingerprint(self.name, self._read_tokenizer)

    def width(self, hook: str) -> int:
        self._check_hook(hook)
        return self.model.config.d_mlp if hook == MLP_HOOK else self.model.config.d_model

    @torch.no_grad()
    def activations(self, tokens: Tensor, hook: str) -> Tensor:
        self._check_hook(hook)
        check_tokens(self, tokens)
        return self.model.activations(tokens, hook)

    @torch.no_grad()
    def logits(self, tokens: Tensor, *, hook: str | None = None, replacement: Tensor | None = None) -> Tensor:
        check_tokens(self, tokens)
        check_replacement(self, tokens, hook, replacement)
        logits: Tensor = self.model.unembed(self.model.final(tokens, hook, replacement))
        return logits

    @torch.no_grad()
    def logit_directions(self, hook: str) -> Tensor:
        """Of the direct path alone: what later sublayers make of a vector is left out."""
        self._check_hook(hook)
        block = self.model.blocks[0]
        assert isinstance(block, Block)
        writes: Tensor
        if hook == MLP_HOOK:
            writes = block.mlp.W_out
        elif hook == "blocks.0.attn.hook_z":
            writes = block.attn.W_O.flatten(0, 1)
        else:
            writes = torch.eye(self.model.config.d_model, dtype=self.model.unembed.W_U.dtype)
        centred = writes - writes.mean(dim=1, keepdim=True)  # the layer norm takes the mean away
        return (centred * self.model.ln_final.w) @ self.model.unembed.W_U

    def to(self, dtype: torch.dtype) -> OneLayerSubject:
        model = copy.deepcopy(self.model).to(dtype)
        return OneLayerSubject(model, self.name, exported_from=self.exported_from, read_tokenizer=self._read_tokenizer)

    def with_model(self, model: OneLayerTransformer, name: str) -> OneLayerSubject:
        return OneLayerSubject(model, name, read_tokenizer=self._read_tokenizer)

    def _check_hook(self, hook: str) -> None:
        if hook not in self.hooks:
            raise BadInput(f"{self.name}: there is no hook {hook!r}; its hooks are {', '.join(self.hooks)}")
