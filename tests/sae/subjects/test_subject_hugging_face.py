"""Hugging Face models as subjects: tiny ones with random weights, made here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sae.errors import BadInput
from sae.subjects import HuggingFaceSubject, load_subject, shuffle_weights

transformers = pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")

LAYERS, WIDTH, NEURONS, VOCAB = 3, 16, 40, 50
TOKENS = torch.randint(0, VOCAB, (2, 9), generator=torch.Generator().manual_seed(0))


def llama(**changes: Any) -> nn.Module:
    sizes = {"hidden_size": WIDTH, "intermediate_size": NEURONS, "num_hidden_layers": LAYERS}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}
    config = transformers.LlamaConfig(vocab_size=VOCAB, **(sizes | heads | changes))
    return transformers.LlamaForCausalLM(config)


def gpt2() -> nn.Module:
    sizes = {"n_embd": WIDTH, "n_inner": NEURONS, "n_layer": LAYERS}
    config = transformers.GPT2Config(vocab_size=VOCAB, n_head=4, n_positions=32, **sizes)
    return transformers.GPT2LMHeadModel(config)


def gpt_neox() -> nn.Module:
    sizes = {"hidden_size": WIDTH, "intermediate_size": NEURONS, "num_hidden_layers": LAYERS}
    config = transformers.GPTNeoXConfig(vocab_size=VOCAB, num_attention_heads=4, max_position_embeddings=32, **sizes)
    return transformers.GPTNeoXForCausalLM(config)


def gemma() -> nn.Module:
    sizes = {"hidden_size": WIDTH, "intermediate_size": NEURONS, "num_hidden_layers": LAYERS, "head_dim": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}
    return transformers.GemmaForCausalLM(transformers.GemmaConfig(vocab_size=VOCAB, **sizes, **heads))


FAMILIES: dict[str, Callable[[], nn.Module]] = {"llama": llama, "gpt2": gpt2, "gpt_neox": gpt_neox, "gemma": gemma}


@pytest.fixture(params=FAMILIES)
def subject(request: pytest.FixtureRequest) -> HuggingFaceSubject:
    model = FAMILIES[request.param]()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # initial weights are so small, and biases 0, that mistakes would drown
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + 0.05)
    return HuggingFaceSubject(model.double(), request.param)


def last_projection(subject: HuggingFaceSubject, layer: int) -> dict[str, Tensor]:
    """Weight and, if there is one, bias of the projection that ends a layer's MLP, found by the families' names."""
    found = {}
    for name, parameter in subject.model.named_parameters():
        *_, module, kind = name.split(".")
        if f".{layer}.mlp." in name and module in ("down_proj", "c_proj", "dense_4h_to_h"):
            found[kind] = parameter
    return found


def test_hidden_states_of_the_library_are_the_residual_hooks(subject: HuggingFaceSubject) -> None:
    states = subject.model(input_ids=TOKENS, output_hidden_states=True).hidden_states
    for layer in range(LAYERS):
        torch.testing.assert_close(subject.activations(TOKENS, f"blocks.{layer}.hook_resid_pre"), states[layer])
    for layer in range(LAYERS - 1):  # the library's last hidden state has gone through the final norm
        torch.testing.assert_close(subject.activations(TOKENS, f"blocks.{layer}.hook_resid_post"), states[layer + 1])


def test_the_mlps_output_is_the_projection_of_its_activations(subject: HuggingFaceSubject) -> None:
    for layer in range(LAYERS):
        post = subject.activations(TOKENS, f"blocks.{layer}.mlp.hook_post")
        out = subject.activations(TOKENS, f"blocks.{layer}.hook_mlp_out")
        projection = last_projection(subject, layer)
        W, bias = projection["weight"], projection.get("bias", torch.zeros(()))
        projected = post @ (W if subject.name == "gpt2" else W.T) + bias
        torch.testing.assert_close(projected, out)
        assert subject.width(f"blocks.{layer}.mlp.hook_post") == NEURONS
        assert subject.width(f"blocks.{layer}.hook_mlp_out") == WIDTH


def test_putting_a_hooks_own_activations_back_changes_nothing(subject: HuggingFaceSubject) -> None:
    logits = subject.logits(TOKENS)
    assert logits.shape == (2, 9, VOCAB)
    assert len(subject.hooks) == 4 * LAYERS
    for hook in subject.hooks:
        own = subject.activations(TOKENS, hook)
        torch.testing.assert_close(subject.logits(TOKENS, hook=hook, replacement=own), logits)
        assert not torch.allclose(subject.logits(TOKENS, hook=hook, replacement=torch.zeros_like(own)), logits), hook
    assert torch.equal(subject.logits(TOKENS), logits), "a hook was left behind"


def test_zeros_in_the_place_of_an_mlps_output_are_zero_ablation(subject: HuggingFaceSubject) -> None:
    ablated = subject.logits(TOKENS, hook="blocks.1.hook_mlp_out", replacement=torch.zeros(2, 9, WIDTH))
    for parameter in last_projection(subject, 1).values():
        parameter.detach().zero_()
    torch.testing.assert_close(ablated, subject.logits(TOKENS))


def test_the_pass_stops_at_the_hook(subject: HuggingFaceSubject) -> None:
    def never(*_: object) -> None:
        raise AssertionError("computed past the hook")

    last = list(subject.model.get_submodule(subject._layout.layers).children())[-1]
    last.register_forward_pre_hook(never)
    assert subject.activations(TOKENS, "blocks.1.mlp.hook_post").shape == (2, 9, NEURONS)
    with pytest.raises(AssertionError, match="past the hook"):
        subject.logits(TOKENS)


def test_logit_directions_are_finite_differences_with_the_norm_held(subject: HuggingFaceSubject) -> None:
    norm, step = subject.model.get_submodule(subject._layout.final_norm), 1.0  # linear: no small step needed
    hook = f"blocks.{LAYERS - 1}.mlp.hook_post"
    directions = subject.logit_directions(hook)
    assert directions is not None
    assert directions.shape == (NEURONS, VOCAB)
    post = subject.activations(TOKENS, hook)
    W_U = subject.model.get_output_embeddings().weight.T

    def scaled_logits(post: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        subject.logits(TOKENS, hook=hook, replacement=post)
        handle.remove()
        x = seen[0][0, 4]
        centred = x - x.mean() if isinstance(norm, nn.LayerNorm) else x
        epsilon = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
        scale = torch.sqrt((centred**2).mean() + epsilon)
        with torch.no_grad():
            return (norm(x) - norm(torch.zeros_like(x))) * scale @ W_U

    for unit in (0, NEURONS - 1):
        nudge = torch.zeros_like(post)
        nudge[0, 4, unit] = step
        difference = (scaled_logits(post + nudge) - scaled_logits(post - nudge)) / (2 * step)
        torch.testing.assert_close(directions[unit], difference, rtol=1e-4, atol=1e-5)
    assert subject.logit_directions("blocks.0.mlp.hook_post") is None
    assert subject.logit_directions(f"blocks.{LAYERS - 1}.hook_resid_pre") is None


def test_shuffling_leaves_norms_and_biases_alone_and_ties_tied(subject: HuggingFaceSubject) -> None:
    shuffled = shuffle_weights(subject, 3)
    before = dict(subject.model.named_parameters())
    for name, parameter in shuffled.model.named_parameters():
        assert torch.equal(parameter.flatten().sort().values, before[name].flatten().sort().values)
        assert torch.equal(parameter, before[name]) == (parameter.ndim == 1), name
    assert shuffled.fingerprint != subject.fingerprint
    tied = subject.model.get_input_embeddings().weight is subject.model.get_output_embeddings().weight
    assert (shuffled.model.get_input_embeddings().weight is shuffled.model.get_output_embeddings().weight) == tied


def test_dtype_and_fingerprint(subject: HuggingFaceSubject) -> None:
    assert subject.to(torch.float64) is subject
    half = subject.to(torch.bfloat16)
    assert half.activations(TOKENS, "blocks.0.mlp.hook_post").dtype == torch.bfloat16
    assert half.fingerprint != subject.fingerprint
    assert subject.activations(TOKENS, "blocks.0.mlp.hook_post").dtype == torch.float64


def test_a_folder_of_transformers_is_loaded(tmp_path: Path) -> None:
    model = llama()
    model.save_pretrained(tmp_path / "small-llama")
    subject = load_subject(str(tmp_path / "small-llama"))
    assert isinstance(subject, HuggingFaceSubject)
    assert (subject.name, subject.context, subject.vocab_size) == ("small-llama", 32, VOCAB)
    torch.testing.assert_close(subject.logits(TOKENS), model.eval()(input_ids=TOKENS).logits.detach())
    assert load_subject(f"{tmp_path / 'small-llama'}?shuffle=1").name == "small-llama-shuffled"


def test_what_cannot_be_loaded_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "text.gguf").write_text("not a model")
    (tmp_path / "config.json").write_text("{}")
    for place, said in {
        str(tmp_path / "text.gguf"): "not a GGUF file",
        str(tmp_path / "absent.gguf"): "No such file",
        str(tmp_path): "neither a folder of",
        str(tmp_path / "absent"): "neither a folder of",
    }.items():
        with pytest.raises(BadInput, match=said) as caught:
            load_subject(place)
        assert "\n" not in str(caught.value)
        assert place in str(caught.value)


def test_bad_requests_are_refused(subject: HuggingFaceSubject) -> None:
    for hook in (f"blocks.{LAYERS}.mlp.hook_post", "blocks.0.mlp.hook_pre", "blocks.0.hook_resid_pre.x"):
        with pytest.raises(BadInput, match=r"there is no hook"):
            subject.activations(TOKENS, hook)
    with pytest.raises(BadInput, match="vocabulary"):
        subject.logits(TOKENS + VOCAB)
    with pytest.raises(BadInput, match="replacement of shape"):
        subject.logits(TOKENS, hook="blocks.0.hook_mlp_out", replacement=torch.zeros(2, 9, WIDTH + 1))


def test_a_model_of_another_layout_is_refused() -> None:
    with pytest.raises(BadInput, match="Linear has no layout known here"):
        HuggingFaceSubject(nn.Linear(2, 2), "x")


def test_without_transformers_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BadInput, match=r"needs transformers; install this package with the extra \[local\]"):
        load_subject("some/model")


def write_gguf(path: Path, model: nn.Module) -> None:
    """A Llama in llama.cpp's format, by the letter of its names; without a tokenizer."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(32)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(NEURONS)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(VOCAB)
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    writer.add_tensor("output.weight", weights["lm_head.weight"])
    names = {
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    for layer in range(LAYERS):
        for theirs, ours in names.items():
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weights[f"model.layers.{layer}.{ours}.weight"])
        for part in "qk":  # llama.cpp keeps the two halves of each rotated pair side by side
            W = weights[f"model.layers.{layer}.self_attn.{part}_proj.weight"].reshape(4, 2, 2, WIDTH)
            writer.add_tensor(f"blk.{layer}.attn_{part}.weight", W.swapaxes(1, 2).reshape(WIDTH, WIDTH).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_loaded(tmp_path: Path) -> None:
    model = llama(num_key_value_heads=4)
    write_gguf(tmp_path / "small.gguf", model)
    subject = load_subject(str(tmp_path / "small.gguf"))
    assert (subject.name, subject.context, subject.vocab_size) == ("small", 32, VOCAB)
    torch.testing.assert_close(subject.logits(TOKENS), model.eval()(input_ids=TOKENS).logits.detach())
