"""The one-layer model against an independent implementation in plain numpy, and its hooks against their meaning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sae.errors import BadInput
from sae.subjects import MLP_HOOK, OneLayerConfig, OneLayerSubject, OneLayerTransformer

CONFIG = OneLayerConfig(d_model=24, n_heads=3, d_mlp=40, d_vocab=61, n_ctx=11)
Array = NDArray[np.float64]


def random_model(seed: int = 0) -> OneLayerTransformer:
    """Weights of every kind away from their initial 0 and 1, so that no term of the forward pass is idle."""
    model = OneLayerTransformer(CONFIG)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.detach().copy_(torch.from_numpy(rng.normal(0.1, 0.6, tuple(parameter.shape))))
    return model


def random_tokens(batch: int = 4, pos: int = 11, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, CONFIG.d_vocab, (batch, pos)))


@pytest.fixture
def subject() -> OneLayerSubject:
    return OneLayerSubject(random_model(), "toy").to(torch.float64)


def by_hand(weights: dict[str, Array], tokens: NDArray[np.int64]) -> dict[str, Array]:
    """The paper's forward pass for one sequence, a loop per head and query position, after TransformerLens' names."""

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred / scale * weights[f"{name}.w"] + weights[f"{name}.b"]

    block = "blocks.0."
    pre = weights["embed.W_E"][tokens] + weights["pos_embed.W_pos"][: len(tokens)]
    normed = norm(pre, block + "ln1")
    attention = np.tile(weights[block + "attn.b_O"], (len(tokens), 1))
    all_z = []
    for head in range(CONFIG.n_heads):
        q, k, v = (normed @ weights[f"{block}attn.W_{x}"][head] + weights[f"{block}attn.b_{x}"][head] for x in "QKV")
        z = np.zeros_like(q)
        for i in range(len(tokens)):
            scores = np.array([q[i] @ k[j] / np.sqrt(CONFIG.d_model / CONFIG.n_heads) for j in range(i + 1)])
            pattern = np.exp(scores) / np.exp(scores).sum()
            z[i] = sum(p * v[j] for j, p in enumerate(pattern))
        attention += z @ weights[block + "attn.W_O"][head]
        all_z.append(z)
    mid = pre + attention
    post = np.maximum(norm(mid, block + "ln2") @ weights[block + "mlp.W_in"] + weights[block + "mlp.b_in"], 0)
    out = post @ weights[block + "mlp.W_out"] + weights[block + "mlp.b_out"]
    return {
        "blocks.0.hook_resid_pre": pre,
        "blocks.0.attn.hook_z": np.concatenate(all_z, -1),
        "blocks.0.hook_resid_mid": mid,
        "blocks.0.mlp.hook_post": post,
        "blocks.0.hook_mlp_out": out,
        "blocks.0.hook_resid_post": mid + out,
        "logits": norm(mid + out, "ln_final") @ weights["unembed.W_U"],
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_forward_and_every_hook_agree_with_plain_numpy(dtype: torch.dtype, tolerance: float) -> None:
    subject = OneLayerSubject(random_model(), "toy").to(dtype)
    weights = {key: value.double().numpy() for key, value in subject.model.state_dict().items()}
    tokens = random_tokens()
    expected = [by_hand(weights, row) for row in tokens.numpy()]
    for name in (*subject.hooks, "logits"):
        got = subject.logits(tokens) if name == "logits" else subject.activations(tokens, name)
        assert got.dtype == dtype
        truth = np.stack([hooks[name] for hooks in expected])
        np.testing.assert_allclose(got.numpy(), truth, rtol=tolerance, atol=tolerance * 10)


def test_parameters_carry_the_names_and_shapes_of_transformer_lens() -> None:
    shapes = {key: tuple(value.shape) for key, value in OneLayerTransformer(CONFIG).state_dict().items()}
    heads, width, d_head, neurons, vocab = 3, 24, 8, 40, 61
    assert shapes == {
        "embed.W_E": (vocab, width),
        "pos_embed.W_pos": (11, width),
        "blocks.0.ln1.w": (width,),
        "blocks.0.ln1.b": (width,),
        **{f"blocks.0.attn.W_{x}": (heads, width, d_head) for x in "QKV"},
        **{f"blocks.0.attn.b_{x}": (heads, d_head) for x in "QKV"},
        "blocks.0.attn.W_O": (heads, d_head, width),
        "blocks.0.attn.b_O": (width,),
        "blocks.0.ln2.w": (width,),
        "blocks.0.ln2.b": (width,),
        "blocks.0.mlp.W_in": (width, neurons),
        "blocks.0.mlp.b_in": (neurons,),
        "blocks.0.mlp.W_out": (neurons, width),
        "blocks.0.mlp.b_out": (width,),
        "ln_final.w": (width,),
        "ln_final.b": (width,),
        "unembed.W_U": (width, vocab),
    }


def test_a_later_token_changes_no_earlier_logits(subject: OneLayerSubject) -> None:
    tokens = random_tokens(2)
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % CONFIG.d_vocab
    before, after = subject.logits(tokens), subject.logits(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] != after[:, 7:]).any(-1).all()


def test_putting_a_hooks_own_activations_back_changes_nothing(subject: OneLayerSubject) -> None:
    tokens = random_tokens()
    for hook in subject.hooks:
        same = subject.logits(tokens, hook=hook, replacement=subject.activations(tokens, hook))
        assert torch.equal(same, subject.logits(tokens)), hook


def test_zeros_in_the_place_of_the_mlp_leave_the_direct_path(subject: OneLayerSubject) -> None:
    tokens = random_tokens()
    ablated = subject.logits(tokens, hook=MLP_HOOK, replacement=torch.zeros(4, 11, 40, dtype=torch.float64))
    weights = {key: value.numpy() for key, value in subject.model.state_dict().items()}
    silent = weights | {"blocks.0.mlp.W_out": np.zeros((40, 24))}
    expected = np.stack([by_hand(silent, row)["logits"] for row in tokens.numpy()])
    np.testing.assert_allclose(ablated.numpy(), expected, atol=1e-10)
    assert not np.allclose(expected, subject.logits(tokens).numpy())


def test_logit_directions_are_what_a_unit_vector_adds_when_the_norms_scale_is_held(subject: OneLayerSubject) -> None:
    """Finite differences through the final norm, whose scale at the two points is divided out."""
    tokens = random_tokens(1)
    final, step = subject.model.ln_final, 1e-3
    for hook in subject.hooks:
        directions = subject.logit_directions(hook)
        assert directions.shape == (subject.width(hook), CONFIG.d_vocab)
        writes = {MLP_HOOK: subject.model.blocks[0].mlp.W_out, "blocks.0.attn.hook_z": subject.model.blocks[0].attn.W_O}
        to_residual = writes[hook].flatten(0, -2) if hook in writes else torch.eye(24, dtype=torch.float64)
        x = subject.activations(tokens, "blocks.0.hook_resid_post")[0, 3]

        def scaled_logits(x: torch.Tensor) -> torch.Tensor:
            return (final(x) - final.b) * torch.sqrt(x.var(correction=0) + 1e-5) @ subject.model.unembed.W_U

        with torch.no_grad():
            for unit in (0, 5, subject.width(hook) - 1):
                nudge = step * to_residual[unit]
                difference = (scaled_logits(x + nudge) - scaled_logits(x - nudge)) / (2 * step)
                torch.testing.assert_close(directions[unit], difference, rtol=1e-6, atol=1e-8)


def test_results_in_float64_do_not_depend_on_the_batch(subject: OneLayerSubject) -> None:
    tokens = random_tokens(9)
    whole = subject.activations(tokens, MLP_HOOK)
    alone = torch.cat([subject.activations(row[None], MLP_HOOK) for row in tokens])
    torch.testing.assert_close(whole, alone, rtol=0, atol=1e-13)


def test_the_pass_stops_at_the_hook(subject: OneLayerSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> torch.Tensor:
        raise AssertionError("computed past the hook")

    monkeypatch.setattr(subject.model.blocks[0].mlp, "out", never)
    assert subject.activations(random_tokens(), MLP_HOOK).shape == (4, 11, 40)
    with pytest.raises(AssertionError, match="past the hook"):
        subject.logits(random_tokens())


def test_initial_weights_depend_on_the_seed_alone_and_not_on_torch() -> None:
    first, again, other = (OneLayerTransformer(CONFIG) for _ in range(3))
    first.init_weights(np.random.default_rng(3))
    torch.manual_seed(99)
    again.init_weights(np.random.default_rng(3))
    other.init_weights(np.random.default_rng(4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embed.W_E, other.embed.W_E)
    assert first.unembed.W_U.std().item() == pytest.approx(0.8 / np.sqrt(24), rel=0.05)
    assert first.blocks[0].mlp.W_out.std().item() == pytest.approx(0.8 / np.sqrt(48), rel=0.05)
    assert not first.blocks[0].attn.b_Q.any()
    assert (first.ln_final.w == 1).all()


def test_fingerprint_follows_the_weights_and_not_the_dtype() -> None:
    model = random_model()
    plain = OneLayerSubject(model, "toy")
    assert plain.to(torch.float64).fingerprint == plain.fingerprint
    assert plain.to(torch.float16).fingerprint != plain.fingerprint
    with torch.no_grad():
        model.blocks[0].ln1.b[3] += 1e-3
    assert OneLayerSubject(model, "toy").fingerprint != plain.fingerprint
    assert len(plain.fingerprint) == 16
    assert int(plain.fingerprint, 16) >= 0


@pytest.mark.parametrize(
    ("sizes", "said"),
    [({"n_heads": 5}, "not a multiple"), ({"d_mlp": 0}, "d_mlp is 0"), ({"d_vocab": -1}, "d_vocab is -1")],
)
def test_sizes_that_cannot_be_are_refused(sizes: dict[str, int], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        OneLayerConfig(**sizes)


def test_bad_requests_are_refused_in_one_line(subject: OneLayerSubject) -> None:
    tokens, put = random_tokens(), torch.zeros(4, 11, 41, dtype=torch.float64)
    requests = {
        "there is no hook": lambda: subject.activations(tokens, "blocks.1.mlp.hook_post"),
        "no hook 'blocks.0.mlp.hook_pre'": lambda: subject.width("blocks.0.mlp.hook_pre"),
        "vocabulary": lambda: subject.logits(tokens + CONFIG.d_vocab),
        "1 to 11 positions": lambda: subject.logits(random_tokens(2, 12)),
        r"shape \[4\]": lambda: subject.logits(tokens[:, 0]),
        "replacement of shape": lambda: subject.logits(tokens, hook=MLP_HOOK, replacement=put),
        "given together": lambda: subject.logits(tokens, hook=MLP_HOOK),
    }
    for said, request in requests.items():
        with pytest.raises(BadInput, match=said) as caught:
            request()
        assert "\n" not in str(caught.value)
