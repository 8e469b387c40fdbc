"""Whole runs on toys: known truth is recovered, a killed run ends as an uninterrupted one, bad input is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from train_fakes import HOOK, ArrayCorpus, TableSubject, random_tokens, sparse_mixtures, unit_directions

from sae.dictionaries import load_dictionary
from sae.errors import BadInput
from sae.train import Progress, TrainConfig, train

SMALL: dict[str, Any] = {
    "expansion": 2, "steps": 60, "batch_size": 32, "l1_coefficient": 0.01, "log_every": 7, "checkpoint_every": 20,
    "resample_fractions": (0.25, 0.75), "dead_window_fraction": 0.2, "resample_inputs": 500, "median_inputs": 300,
    "buffer_inputs": 500, "l1_warmup_fraction": 0.1,
}  # fmt: skip


class Killed(Exception):
    pass


def small_world(seed: int = 0) -> tuple[Any, Any]:
    table = sparse_mixtures(seed, 2000, unit_directions(seed + 1, 12, 8), active=2)
    return TableSubject(torch.from_numpy(table)), ArrayCorpus(random_tokens(seed + 2, 100, 32, 2000))


def run(
    out: Path, world: tuple[Any, Any] | None = None, *, kill_at: int | None = None, **settings: Any
) -> dict[str, Any]:
    def report(progress: Progress) -> None:
        if kill_at is not None and progress.step >= kill_at:
            raise Killed

    subject, corpus = world or small_world()
    return train(subject, corpus, TrainConfig(**{**SMALL, **settings}), out, hook=HOOK, report=report)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_known_directions_are_recovered(tmp_path: Path, dtype: str) -> None:
    # TM's check: data whose features are known. 48 directions in 24 dimensions, three active at a time.
    truth = unit_directions(1, 48, 24)
    subject: Any = TableSubject(torch.from_numpy(sparse_mixtures(2, 50_000, truth, active=3)))
    corpus: Any = ArrayCorpus(random_tokens(3, 5000, 64, 50_000))
    config = TrainConfig(
        expansion=4, steps=800, batch_size=256, l1_coefficient=0.012, learning_rate=1e-2, dtype=dtype,  # type: ignore[arg-type]
        resample_inputs=10_000, median_inputs=5000, buffer_inputs=50_000,
    )  # fmt: skip
    train(subject, corpus, config, tmp_path / "toy", hook=HOOK)
    dictionary = load_dictionary(tmp_path / "toy")
    cosines = truth @ dictionary.W_dec.numpy().astype(np.float64).T
    assert cosines.max(axis=1).mean() > 0.9
    # An untrained dictionary of this size is far from it, so the number says something.
    chance = truth @ unit_directions(9, 96, 24).T
    assert chance.max(axis=1).mean() < 0.65
    held_out = torch.from_numpy(sparse_mixtures(4, 2000, truth, active=3))
    latents = dictionary.encode(held_out)
    assert 2 < float((latents > 0).sum(dim=1).double().mean()) < 12
    error = (dictionary.decode(latents) - held_out).square().sum() / (held_out - held_out.mean(dim=0)).square().sum()
    assert float(error) < 0.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kills", [[25], [20, 40], [5, 59]])
def test_a_killed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path: Path, dtype: str, kills: list[int]) -> None:
    # Kills before the first checkpoint, right after one, between two, after a resampling and in the last steps.
    whole = run(tmp_path / "whole", dtype=dtype)
    for at in kills:
        with pytest.raises(Killed):
            run(tmp_path / "killed", kill_at=at, dtype=dtype)
        assert not (tmp_path / "killed" / "manifest.json").exists()
    resumed = run(tmp_path / "killed", dtype=dtype)
    assert resumed["fingerprint"] == whole["fingerprint"]
    assert (tmp_path / "killed" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()
    assert resumed["training"]["resamplings"] == whole["training"]["resamplings"]
    assert resumed["training"]["mean_activation_norm"] == whole["training"]["mean_activation_norm"]
    assert not (tmp_path / "killed" / "checkpoint.safetensors").exists()


def test_how_often_checkpoints_are_written_changes_nothing(tmp_path: Path) -> None:
    often = run(tmp_path / "often", checkpoint_every=1)
    never = run(tmp_path / "never", checkpoint_every=1000)
    assert often["fingerprint"] == never["fingerprint"]


def test_the_seed_decides_the_dictionary(tmp_path: Path) -> None:
    first, again, other = (run(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert first["fingerprint"] == again["fingerprint"] != other["fingerprint"]


def test_a_finished_run_is_found_not_done_again(tmp_path: Path) -> None:
    world = small_world()
    done = run(tmp_path, world)
    asked = world[0].tokens_asked
    assert run(tmp_path, world) == done
    assert world[0].tokens_asked == asked


def test_the_manifest_says_how_it_was_made(tmp_path: Path) -> None:
    subject, corpus = small_world()
    manifest = run(tmp_path / "named", (subject, corpus), mse_convention="sum")
    assert manifest == json.loads((tmp_path / "named" / "manifest.json").read_text())
    assert manifest["name"] == "named"
    assert manifest["subject"] == {"name": "table", "fingerprint": subject.fingerprint}
    assert manifest["corpus"]["fingerprint"] == corpus.split("train").fingerprint
    training = manifest["training"]
    assert training["mse_convention"] == training["settings"]["mse_convention"] == "sum"
    assert training["settings"]["dtype"] == "float32"
    assert training["inputs"] == 60 * 32
    norms = np.linalg.norm(subject.table.numpy(), axis=1)
    assert training["mean_activation_norm"] == pytest.approx(norms.mean(), rel=0.05)
    log = [json.loads(line) for line in (tmp_path / "named" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    assert training["last_batch"] == log[-1]


def test_b_dec_starts_at_the_geometric_median(tmp_path: Path) -> None:
    # With a rate this small nothing moves, so the saved bias is where it began: nine points at (4, 2), one far away.
    table = torch.tensor([[4.0, 2.0]] * 9 + [[100.0, -100.0]])
    tokens = np.tile(np.arange(10, dtype=np.uint16), (64, 1))
    run(tmp_path, (TableSubject(table), ArrayCorpus(tokens)), steps=10, learning_rate=1e-12, resample_fractions=())
    bias = load_dictionary(tmp_path).b_dec
    torch.testing.assert_close(bias, torch.tensor([4.0, 2.0]), atol=1e-3, rtol=0)


def test_a_split_that_is_too_small_is_refused_before_training(tmp_path: Path) -> None:
    world = small_world()
    with pytest.raises(
        BadInput, match=r"101 steps of 32 need 3,232 activations, but split 'train' has 3,200.* 100 steps"
    ):
        run(tmp_path, world, steps=101)
    assert world[0].tokens_asked == 0
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadInput, match=r"has 400"):
        run(tmp_path, world, tokens_per_context=4)


def test_the_whole_split_can_be_used(tmp_path: Path) -> None:
    assert run(tmp_path, steps=100)["training"]["inputs"] == 3200


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_of_another_run_is_refused(tmp_path: Path, finished: bool) -> None:
    if finished:
        run(tmp_path)
    else:
        with pytest.raises(Killed):
            run(tmp_path, kill_at=30)
    with pytest.raises(BadInput, match=r"holds another run \(l1_coefficient is 0.01 there and 0.5 here\)"):
        run(tmp_path, l1_coefficient=0.5)
    with pytest.raises(BadInput, match=r"holds another run \(its subject is .*table"):
        run(tmp_path, (small_world(5)[0], small_world()[1]))
    with pytest.raises(BadInput, match=r"holds another run \(its corpus is"):
        run(tmp_path, (small_world()[0], small_world(5)[1]))


def test_a_dictionary_of_another_tool_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(BadInput, match="holds a dictionary of another tool"):
        run(tmp_path)
    assert (tmp_path / "cfg.json").read_text() == "{}"


def test_a_checkpoint_left_beside_a_finished_dictionary_is_cleared(tmp_path: Path) -> None:
    done = run(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"left over")
    assert run(tmp_path) == done
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path, keep: int) -> None:
    with pytest.raises(Killed):
        run(tmp_path, kill_at=30)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        BadInput, match=r"checkpoint\.safetensors: not a whole checkpoint .*delete it to start anew"
    ) as error:
        run(tmp_path)
    assert "\n" not in str(error.value)


def test_an_unknown_architecture_names_those_known(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"architecture 'resnet' is not known; known: relu_l1"):
        run(tmp_path, architecture="resnet")


def test_too_much_sparsity_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"all 16 latents are dead"):
        run(tmp_path, l1_coefficient=1e5, learning_rate=1.0, l1_warmup_fraction=0.0, resample_fractions=(0.75,))
