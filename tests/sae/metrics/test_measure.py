"""The metrics against loops over tokens in plain Python, and dictionaries whose numbers are known beforehand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from metrics_fakes import HOOK, TinySubject, likely_tokens

from sae.dictionaries import ReluL1
from sae.errors import BadInput
from sae.metrics import Sparsity, density_figure, loss_recovered, measure, save_figure


def random_dictionary(seed: int, d_in: int = 6, d_sae: int = 9) -> ReluL1:
    rng = torch.Generator().manual_seed(seed)
    return ReluL1(
        W_enc=torch.randn(d_in, d_sae, generator=rng) * 0.5,
        b_enc=torch.randn(d_sae, generator=rng) - 0.5,
        W_dec=torch.randn(d_sae, d_in, generator=rng) * 0.5,
        b_dec=torch.randn(d_in, generator=rng) * 0.1,
        hook_name=HOOK,
    )


def identity_dictionary(d: int = 6) -> ReluL1:
    """Reconstructs activations that are >= 0, as those after a ReLU are."""
    return ReluL1(torch.eye(d), torch.zeros(d), torch.eye(d), torch.zeros(d), hook_name=HOOK)


def zero_dictionary(d: int = 6) -> ReluL1:
    return ReluL1(torch.zeros(d, d), torch.zeros(d), torch.zeros(d, d), torch.zeros(d), hook_name=HOOK)


def test_every_number_is_that_of_a_loop_over_tokens() -> None:
    subject: Any = TinySubject.random(0)
    dictionary, tokens = random_dictionary(1), likely_tokens(subject, 2)
    found = measure(subject, dictionary, tokens)

    weights = {name: tensor.double().numpy() for name, tensor in dictionary.tensors().items()}
    embedding, skip, unembedding = (t.double().numpy() for t in (subject.embedding, subject.skip, subject.unembedding))
    fired, squares, norms, inputs = np.zeros(9, dtype=int), 0.0, [], []
    losses: dict[str, list[float]] = {"subject": [], "reconstruction": [], "zero": []}
    for block in tokens.tolist():
        for position, token in enumerate(block):
            x = embedding[token] + (embedding[block[position - 1]] if position else 0)
            x = np.where(x > 0, x, 0)
            latents = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
            latents = np.where(latents > 0, latents, 0)
            rebuilt = latents @ weights["W_dec"] + weights["b_dec"]
            fired += latents > 0
            squares += sum((x - rebuilt) ** 2)
            norms.append(math.sqrt(sum(x**2)))
            inputs.append(x)
            if position + 1 < len(block):
                for name, hook in (("subject", x), ("reconstruction", rebuilt), ("zero", 0 * x)):
                    logits = skip[token] + hook @ unembedding
                    normaliser = math.log(sum(math.exp(value) for value in logits))
                    losses[name].append(normaliser - logits[block[position + 1]])
    n, mean = len(inputs), np.mean(inputs, axis=0)
    means = {name: sum(values) / len(values) for name, values in losses.items()}
    assert found.fired.tolist() == fired.tolist()
    assert found.sparsity.tokens == n == tokens.size
    assert found.sparsity.l0 == pytest.approx(fired.sum() / n)
    assert found.reconstruction.mse == pytest.approx(squares / n / 6, rel=1e-5)
    variance = sum(sum((x - mean) ** 2) for x in inputs)
    assert found.reconstruction.explained_variance == pytest.approx(1 - squares / variance, rel=1e-5)
    assert found.reconstruction.mean_norm == pytest.approx(np.mean(norms), rel=1e-5)
    recovered = found.loss_recovered
    assert recovered.subject_loss == pytest.approx(means["subject"], rel=1e-5)
    assert recovered.reconstruction_loss == pytest.approx(means["reconstruction"], rel=1e-5)
    assert recovered.ablated_loss == pytest.approx(means["zero"], rel=1e-5)
    expected = (means["reconstruction"] - means["zero"]) / (means["subject"] - means["zero"])
    assert recovered.value == pytest.approx(expected, rel=1e-4)
    assert recovered.ci_low is not None
    assert recovered.ci_high is not None
    assert recovered.ci_low < expected < recovered.ci_high


def test_batches_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    subject: Any = TinySubject.random(0)
    dictionary, tokens = random_dictionary(1), likely_tokens(subject, 2)
    whole = measure(subject, dictionary, tokens).as_dict()
    monkeypatch.setattr("sae.metrics.measuring._TOKENS_PER_FORWARD", 36)  # three blocks at a time
    pieces = measure(subject, dictionary, tokens).as_dict()
    for section, numbers in whole.items():
        for name, value in numbers.items():
            expected = value if isinstance(value, str | None) else pytest.approx(value, rel=1e-5)
            assert pieces[section][name] == expected, name


def test_a_large_mean_does_not_spoil_the_explained_variance() -> None:
    # The same activations moved by 1000: sums of raw squares in float32 would lose the variance altogether.
    near: Any = TinySubject.random(0)
    far: Any = TinySubject(near.embedding, near.skip, near.unembedding)
    far.activations = lambda tokens, hook: near.activations(tokens, hook) + 1000
    tokens = likely_tokens(near, 2)
    moved = ReluL1(torch.zeros(6, 6), torch.zeros(6), torch.zeros(6, 6), torch.full((6,), 1000.0), hook_name=HOOK)
    found = measure(far, moved, tokens).reconstruction.explained_variance
    expected = measure(near, zero_dictionary(), tokens).reconstruction.explained_variance
    assert found == pytest.approx(expected, abs=1e-3)


def test_an_identity_recovers_everything_and_zero_recovers_nothing() -> None:
    subject: Any = TinySubject.random(3)
    tokens = likely_tokens(subject, 4)
    whole = measure(subject, identity_dictionary(), tokens)
    assert whole.loss_recovered.value == pytest.approx(1.0, abs=1e-6)
    assert whole.reconstruction.mse == 0.0
    assert whole.reconstruction.explained_variance == 1.0
    nothing = measure(subject, zero_dictionary(), tokens)
    assert nothing.loss_recovered.value == pytest.approx(0.0, abs=1e-6)
    assert (nothing.sparsity.l0, nothing.sparsity.dead, nothing.sparsity.alive) == (0.0, 6, 0)


def test_loss_recovered_is_undefined_where_the_hook_does_nothing() -> None:
    subject: Any = TinySubject.random(5)
    subject.unembedding = torch.zeros_like(subject.unembedding)
    found = measure(subject, random_dictionary(6), likely_tokens(subject, 7)).loss_recovered
    assert (found.value, found.ci_low, found.ci_high) == (None, None, None)
    assert found.reason == "zero ablation does not clearly raise the subject's loss"
    assert found.subject_loss == pytest.approx(found.ablated_loss)


def test_activations_that_do_not_vary_have_no_explained_variance() -> None:
    subject: Any = TinySubject.random(5)
    subject.activations = lambda tokens, hook: torch.ones(*tokens.shape, 6)
    found = measure(subject, identity_dictionary(), likely_tokens(TinySubject.random(5), 7))
    assert found.reconstruction.explained_variance is None


def test_tokens_asked_for_are_whole_random_blocks() -> None:
    subject: Any = TinySubject.random(0)
    tokens = likely_tokens(subject, 2)
    found = measure(subject, random_dictionary(1), tokens, n_tokens=100, n_loss_tokens=30)
    assert found.sparsity.tokens == 9 * 12
    assert (found.loss_recovered.blocks, found.loss_recovered.tokens) == (3, 36)

    def loss(seed: int) -> float:
        measured = measure(subject, random_dictionary(1), tokens, n_tokens=100, n_loss_tokens=30, seed=seed)
        return measured.loss_recovered.subject_loss

    assert loss(0) == found.loss_recovered.subject_loss
    assert len({round(loss(seed), 6) for seed in range(4)}) == 4  # not simply the first blocks


@pytest.mark.parametrize("asked", [{"n_tokens": 481}, {"n_loss_tokens": 481}])
def test_more_tokens_than_there_are_is_refused(asked: dict[str, int]) -> None:
    subject: Any = TinySubject.random(0)
    with pytest.raises(BadInput, match=r"481 .*tokens asked for, but the split has 480"):
        measure(subject, random_dictionary(1), likely_tokens(subject, 2), **asked)


def test_a_dictionary_of_another_width_is_refused() -> None:
    subject: Any = TinySubject.random(0)
    with pytest.raises(BadInput, match=rf"the dictionary reads 5 dimensions, {HOOK} has 6"):
        measure(subject, identity_dictionary(5), likely_tokens(subject, 2))


def test_densities_are_counted_by_their_definitions() -> None:
    tokens = 2_000_000
    # dead, dead, 1 token (5e-7: ultra-low), 2 tokens (1e-6, not below), 100, 20,000 (1%, not above), 20,001
    fired = np.array([0, 0, 1, 2, 100, 20_000, 20_001])
    found = Sparsity.from_counts(fired, tokens)
    assert (found.dead, found.ultra_low_density, found.high_density, found.alive) == (2, 1, 1, 4)
    assert found.l0 == pytest.approx(40_104 / tokens)


@pytest.mark.parametrize(("tokens", "expected"), [(1_000_000, None), (1_000_001, 1)])
def test_ultra_low_density_is_unknown_where_it_cannot_be_seen(tokens: int, expected: int | None) -> None:
    # Firing once on a million tokens is a density of 1e-6, which is not below it: nothing rarer can be seen.
    assert Sparsity.from_counts(np.array([0, 1, 500]), tokens).ultra_low_density == expected


def test_the_interval_of_the_loss_recovered_covers_the_truth() -> None:
    # Blocks whose ablation costs about 2 and reconstruction about 0.4 more than the subject: the truth is 0.8.
    rng, covered, runs = np.random.default_rng(0), 0, 60
    for run in range(runs):
        base = rng.normal(3.0, 1.0, 80)
        losses = np.stack([base, base + rng.normal(0.4, 0.2, 80), base + rng.normal(2.0, 0.5, 80)], axis=1)
        found = loss_recovered(losses, tokens_per_block=10, seed=run)
        assert found.ci_low is not None
        assert found.ci_high is not None
        assert found.ci_high - found.ci_low < 0.1
        covered += found.ci_low <= 0.8 <= found.ci_high
    assert 50 <= covered <= 60  # 95% of 60 is 57, standard deviation 1.7


def test_the_interval_is_fixed_by_the_seed() -> None:
    losses = np.random.default_rng(1).normal([3.0, 3.4, 5.0], 0.3, (50, 3))
    first, again, other = (loss_recovered(losses, tokens_per_block=10, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert (first.ci_low, first.ci_high) != (other.ci_low, other.ci_high)
    assert first.value == other.value


def test_the_numbers_are_json() -> None:
    subject: Any = TinySubject.random(0)
    found = measure(subject, random_dictionary(1), likely_tokens(subject, 2))
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == found.as_dict()


def test_progress_ends_at_the_total() -> None:
    subject: Any = TinySubject.random(0)
    seen: list[tuple[int, int]] = []
    measure(
        subject, random_dictionary(1), likely_tokens(subject, 2), report=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (40, 40)


def test_the_figure_says_what_it_cannot_draw(tmp_path: Path) -> None:
    fired = np.array([0, 0, 0, 1, 40, 300, 3000, 90_000, 1_000_000])
    figure = density_figure(fired, Sparsity.from_counts(fired, 1_000_000), "A/1")
    axes = figure.axes[0]
    assert "3 dead latents" in axes.get_title()
    assert "1,000,000 tokens" in axes.get_title()
    assert axes.get_xlabel()
    assert axes.get_ylabel() == "latents"
    assert sum(patch.get_height() for patch in axes.patches) == 6  # every latent that fired is in a bar
    paths = save_figure(figure, tmp_path / "density")
    assert [path.name for path in paths] == ["density.svg", "density.png"]
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    once = paths[0].read_bytes()
    again = density_figure(fired, Sparsity.from_counts(fired, 1_000_000), "A/1")
    assert save_figure(again, tmp_path / "density")[0].read_bytes() == once


def test_a_figure_of_dead_latents_only_can_be_drawn(tmp_path: Path) -> None:
    fired = np.zeros(4, dtype=np.int64)
    save_figure(density_figure(fired, Sparsity.from_counts(fired, 100), "all dead"), tmp_path / "density")
    assert (tmp_path / "density.svg").exists()
