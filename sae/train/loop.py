"""A training run from its settings to a saved dictionary: resumable, and the same whether or not it was killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sae.dictionaries import read_manifest, save_dictionary
from sae.dictionaries.files import CONFIG_FILE
from sae.errors import BadInput
from sae.files import write_atomically
from sae.seeds import generator
from sae.train.checkpoint import CHECKPOINT_FILE, RunState, read_checkpoint, write_checkpoint
from sae.train.config import TrainConfig
from sae.train.identity import corpus_identity, subject_identity
from sae.train.median import geometric_median
from sae.train.relu_l1 import Losses
from sae.train.resampling import resample_dead
from sae.train.schedule import dead_window, l1_coefficient, learning_rate, resample_after
from sae.train.stream import ActivationStream
from sae.train.trainer import Trainer, trainer_class

if TYPE_CHECKING:
    from sae.corpus import Corpus
    from sae.subjects import Subject

LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class Progress:
    """Where a run stands; given to the `report` function every `log_every` steps and at the end."""

    step: int
    steps: int
    mse: float
    """In the run's convention, of the batch of this step, as are the next two."""
    l1: float
    l0: float
    dead: int
    inputs_per_second: float
    """Since the last report."""
    seconds: float
    """Over all sittings of the run."""


def train(
    subject: Subject,
    corpus: Corpus,
    config: TrainConfig,
    out: Path,
    *,
    hook: str,
    split: str = "train",
    device: torch.device | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Train a dictionary on `hook` of `subject` over a split of `corpus`, save it into `out`, return its manifest.

    Goes on from the checkpoint in `out` if there is one; a run that is already finished there is only returned.

    Raises BadInput before any training when `out` holds another run, the split has fewer activations than the run
    asks for, or the hook is unknown; and during training when no latent is left alive.
    """
    run = _Run(subject, corpus, config, out, hook, split, device or torch.device("cpu"))
    finished = run.finished_manifest()
    if finished is not None:
        return finished
    run.start()
    run.go_on(report)
    return run.finish()


class _Run:
    """One run's parts, made in `start`."""

    def __init__(
        self,
        subject: Subject,
        corpus: Corpus,
        config: TrainConfig,
        out: Path,
        hook: str,
        split: str,
        device: torch.device,
    ) -> None:
        self._config, self._out, self._hook, self._device = config, out, hook, device
        self._trainer_class = trainer_class(config.architecture)
        self._identity = {
            "subject": subject_identity(subject),
            "hook": hook,
            "corpus": corpus_identity(corpus, split),
        }
        self._stream = ActivationStream(
            subject.to(getattr(torch, config.subject_dtype)),
            hook,
            corpus.split(split).tokens,
            seed=config.seed,
            tokens_per_context=config.tokens_per_context,
            buffer_inputs=config.buffer_inputs,
            dtype=getattr(torch, config.dtype),
        )
        self._check_length(split)
        self._state = RunState(config=config.as_dict(), identity=self._identity)
        self._trainer: Trainer

    def finished_manifest(self) -> dict[str, Any] | None:
        """The manifest of this very run if `out` holds it finished; BadInput if `out` holds another."""
        manifest = read_manifest(self._out)
        if manifest is None:
            return None
        training = manifest.get("training", {})
        identity = {key: manifest.get(key) for key in self._identity}
        self._check_same(training.get("settings", {}), identity)
        (self._out / CHECKPOINT_FILE).unlink(missing_ok=True)  # left by a kill between the two last lines of `finish`
        return manifest

    def start(self) -> None:
        """Make the folder and the trainer, from the checkpoint if there is one."""
        try:
            self._out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"{self._out}: {error.strerror}; name a folder that can be written") from error
        stored = read_checkpoint(self._out)
        if stored is None and (self._out / CONFIG_FILE).exists():
            raise BadInput(f"{self._out}: holds a dictionary of another tool; name another --out")
        if stored is None:
            inputs = torch.cat(list(self._stream.sample(self._config.median_inputs, "geometric median")))
            self._state.mean_norm = float(torch.linalg.vector_norm(inputs, dim=1, dtype=torch.float32).mean())
            self._trainer = self._new_trainer(geometric_median(inputs))
            return
        self._state, tensors = stored
        self._check_same(self._state.config, self._state.identity)
        self._trainer = self._new_trainer(torch.zeros(self._stream.width))
        try:
            self._trainer.load_state(tensors)
        except (KeyError, RuntimeError) as error:
            raise BadInput(
                f"{self._out / CHECKPOINT_FILE}: not a state of this architecture ({error}); delete it to start anew"
            ) from error

    def go_on(self, report: Callable[[Progress], None]) -> None:
        """All steps that are left."""
        config, state = self._config, self._state
        resampling = resample_after(config)
        self._stream.seek(state.step * config.batch_size)
        batch = torch.empty(config.batch_size, self._stream.width, dtype=getattr(torch, config.dtype))
        started = time.monotonic() - state.seconds
        rate = _Rate(state.step, config.batch_size)
        while state.step < config.steps:
            self._stream.next(batch)
            losses = self._step(batch.to(self._device))
            state.seconds = time.monotonic() - started
            if losses is not None:
                report(self._progress(losses, rate.since_last(state.step)))
            if state.step in resampling:
                self._resample()
            if state.step % config.checkpoint_every == 0 and state.step < config.steps:
                write_checkpoint(self._out, state, self._trainer.state())

    def finish(self) -> dict[str, Any]:
        """Save log and dictionary, remove the checkpoint, return the manifest."""
        config, state = self._config, self._state
        lines = "".join(json.dumps(line, allow_nan=False) + "\n" for line in state.log)
        write_atomically(self._out / LOG_FILE, lines.encode())
        training = {
            "settings": config.as_dict(),
            "mse_convention": config.mse_convention,
            "activations": "raw scale, not normalised",
            "mean_activation_norm": state.mean_norm,
            "inputs": config.inputs,
            "seconds": round(state.seconds, 1),
            "torch": torch.__version__,
            "device": self._device.type,
            "resamplings": state.resamplings,
            "last_batch": state.log[-1],
        }
        provenance = {"name": self._out.resolve().name, **self._identity, "training": training}
        manifest = save_dictionary(self._trainer.dictionary(self._hook), self._out, provenance)
        (self._out / CHECKPOINT_FILE).unlink(missing_ok=True)
        return manifest

    def _step(self, batch: Tensor) -> Losses | None:
        step, config = self._state.step, self._config
        losses = self._trainer.step(
            batch,
            learning_rate=learning_rate(step, config),
            l1_coefficient=l1_coefficient(step, config),
            measure=(step + 1) % config.log_every == 0 or step + 1 == config.steps,
        )
        self._state.step += 1
        return losses

    def _progress(self, losses: Losses, inputs_per_second: float) -> Progress:
        """Log the losses of the step just done, and say where the run stands."""
        state, last = self._state, self._state.step - 1
        dead = int((self._trainer.steps_silent >= dead_window(self._config)).sum())
        state.log.append(
            {
                "step": state.step,
                **asdict(losses),
                "dead": dead,
                "learning_rate": learning_rate(last, self._config),
                "l1_coefficient": l1_coefficient(last, self._config),
            }
        )
        return Progress(
            step=state.step,
            steps=self._config.steps,
            **asdict(losses),
            dead=dead,
            inputs_per_second=inputs_per_second,
            seconds=state.seconds,
        )

    def _resample(self) -> None:
        config, step = self._config, self._state.step
        done = resample_dead(
            self._trainer,
            self._stream.sample(config.resample_inputs, "inputs to resample from", step),
            window=dead_window(config),
            l1_coefficient=l1_coefficient(step - 1, config),
            batch_size=config.batch_size,
            rng=generator(config.seed, "resampling", step),
        )
        self._state.resamplings.append({"step": step, **asdict(done)})

    def _new_trainer(self, b_dec: Tensor) -> Trainer:
        rng = generator(self._config.seed, "initial weights")
        return self._trainer_class(self._config, b_dec, rng, self._device)

    def _check_length(self, split: str) -> None:
        asked, there = self._config.inputs, self._stream.inputs
        if asked > there:
            raise BadInput(
                f"{self._config.steps} steps of {self._config.batch_size} need {asked:,} activations, but split "
                f"{split!r} has {there:,}, each used once; ask for {there // self._config.batch_size:,} steps or fewer"
            )

    def _check_same(self, settings: dict[str, Any], identity: dict[str, Any]) -> None:
        difference = self._config.difference(settings)
        if difference is None:
            for key, value in self._identity.items():
                if identity.get(key) != value:
                    difference = f"its {key} is {identity.get(key)}, not {value}"
                    break
        if difference is not None:
            raise BadInput(f"{self._out}: holds another run ({difference}); name another --out or remove it")


class _Rate:
    """Inputs per second since the last time it was asked."""

    def __init__(self, step: int, batch_size: int) -> None:
        self._step, self._batch_size, self._then = step, batch_size, time.monotonic()

    def since_last(self, step: int) -> float:
        now = time.monotonic()
        rate = (step - self._step) * self._batch_size / max(now - self._then, 1e-9)
        self._step, self._then = step, now
        return rate
