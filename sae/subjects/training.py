"""Training of the one-layer transformer, in the spirit of nanoGPT.

Master weights and Adam's moments are float32; matrix products run in bfloat16 where the processor is fast at it. The
data order is a function of (seed, step), so a run that was killed goes on from its checkpoint to the same bits.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from sae.errors import BadInput
from sae.files import write_atomically
from sae.seeds import generator
from sae.subjects.batches import BlockOrder, Blocks, inputs_and_targets, spread_rows
from sae.subjects.checkpoints import read_checkpoint, restore, write_checkpoint
from sae.subjects.loss import UnembeddingLoss
from sae.subjects.one_layer import OneLayerConfig, OneLayerTransformer
from sae.subjects.processor import keep_freed_memory, resolve_dtype

LOG = "log.jsonl"


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    tokens: to train on, rounded up to whole batches. batch: blocks a step. lr: Adam's peak rate, reached after a
    linear warm-up over the share `warmup` of the steps and followed by a cosine to 0. betas: Adam's. clip: the
    largest norm of the whole gradient. checkpoint_every, log_every, validate_every: steps. validation_blocks:
    blocks of one validation; the last one takes eight times as many. dtype: of the matrix products, "float32",
    "bfloat16" or "auto". Raises BadInput for values that cannot be.
    """

    seed: int = 0
    tokens: int = 60_000_000
    batch: int = 64
    lr: float = 3e-3
    warmup: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    checkpoint_every: int = 500
    log_every: int = 100
    validate_every: int = 500
    validation_blocks: int = 512
    dtype: str = "auto"

    def __post_init__(self) -> None:
        for name in ("tokens", "batch", "checkpoint_every", "log_every", "validate_every", "validation_blocks"):
            if getattr(self, name) < 1:
                raise BadInput(f"training: {name} is {getattr(self, name)}; it must be at least 1")
        if self.seed < 0:
            raise BadInput(f"training: seed is {self.seed}; it must not be negative")
        if not 0 < self.lr < math.inf:
            raise BadInput(f"training: lr is {self.lr}; it must be a positive number")
        if self.dtype not in ("auto", "float32", "bfloat16"):
            raise BadInput(f"training: dtype is {self.dtype!r}; it must be auto, float32 or bfloat16")

    def learning_rate(self, step: int, steps: int) -> float:
        """Adam's rate at step 0, 1, ... of `steps`."""
        warmup = max(1, round(self.warmup * steps))
        if step < warmup:
            return self.lr * (step + 1) / warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@dataclass(frozen=True)
class TrainingData:
    """Two splits of a corpus, [n_blocks, block_tokens]; `fingerprint` says which corpus it is."""

    train: Blocks
    validation: Blocks
    fingerprint: str


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is. Losses in nats a token; tokens_per_second since the start of this process."""

    step: int
    steps: int
    tokens: int
    loss: float | None
    validation_loss: float | None
    tokens_per_second: float


class Trainer:
    """A training run in a folder. Its constructor starts it, or takes it up where the folder's checkpoint left it.

    Raises BadInput if that checkpoint comes from other settings, another model or another corpus.
    """

    def __init__(self, config: OneLayerConfig, settings: TrainingSettings, data: TrainingData, folder: Path) -> None:
        block_tokens = data.train.shape[1]
        if block_tokens > config.n_ctx:
            raise BadInput(f"the corpus has blocks of {block_tokens} tokens, the model a context of {config.n_ctx}")
        self.settings, self.data, self.folder = settings, data, folder
        self.order = BlockOrder(len(data.train), settings.batch, settings.seed)
        self.tokens_per_step = settings.batch * block_tokens
        self.steps = -(-settings.tokens // self.tokens_per_step)
        self.model = OneLayerTransformer(config)
        self.optimizer = torch.optim.Adam(self.model.parameters(), betas=settings.betas, fused=True)
        self.losses: list[float] = []  # of the steps since the log's last line
        self.validation_loss: float | None = None
        self.step, self.seconds_before = 0, 0.0
        self.dtype = self._take_up_or_start(config)
        self.loss = UnembeddingLoss(config.d_model, config.d_vocab, self.dtype)
        self.resumed_from, self.started = self.step, time.monotonic()

    def run(self, on_step: Callable[[TrainingProgress], None] = lambda _: None) -> dict[str, Any]:
        """Train to the end, calling `on_step` after each step; the summary for the manifest.

        Raises BadInput if the loss stops being a number: the learning rate was too high.
        """
        keep_freed_memory()
        while self.step < self.steps:
            self.losses.append(self._train_step())
            if not math.isfinite(self.losses[-1]):
                raise BadInput(f"training diverged at step {self.step}: the loss is no number; lower --lr")
            if self.step % self.settings.validate_every == 0 and self.step < self.steps:
                self.validation_loss, _ = self.validate(self.settings.validation_blocks)
            progress = self._progress()
            if self.step % self.settings.log_every == 0 or self.step == self.steps:
                self._log(progress)
            if self.step % self.settings.checkpoint_every == 0 or self.step == self.steps:
                self._save()
            on_step(progress)
        return self._summary()

    def validate(self, n_blocks: int) -> tuple[float, int]:
        """Mean loss (nats a token) over at most `n_blocks` blocks of the validation split, and their tokens."""
        return validation_loss(self.model, self.data.validation, n_blocks)

    def _train_step(self) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate(self.step, self.steps)
        tokens, targets = inputs_and_targets(self.data.train, self.order(self.step))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            hidden = self.model.final(tokens)
        loss = self.loss(hidden.flatten(0, 1), self.model.unembed.W_U, targets.flatten())
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)  # the gradients' memory is used again
        self.step += 1
        return loss.item()

    def _take_up_or_start(self, config: OneLayerConfig) -> torch.dtype:
        """Set the state from the folder's checkpoint, or to the start; the dtype of the matrix products."""
        self.identity = {
            "config": asdict(config),
            "settings": asdict(self.settings),
            "corpus": self.data.fingerprint,
        }
        self.identity = json.loads(json.dumps(self.identity))  # as it is read back: a tuple is a list in JSON
        saved = read_checkpoint(self.folder)
        if saved is None:
            self.model.init_weights(generator(self.settings.seed, "initial weights"))
            _keep_log(self.folder, 0)
            return resolve_dtype(self.settings.dtype)
        if saved.state["identity"] != self.identity:
            difference = _difference(saved.state["identity"], self.identity)
            raise BadInput(
                f"{self.folder}: holds a run with other settings ({difference}); "
                "give its settings to go on with it, or another --out"
            )
        restore(saved, self.model, self.optimizer)
        self.step, self.losses = saved.state["step"], saved.state["losses"]
        self.validation_loss, self.seconds_before = saved.state["validation_loss"], saved.state["seconds"]
        _keep_log(self.folder, self.step)
        # Where the dtype was chosen by timing, the choice must not change between a kill and the resume.
        return torch.bfloat16 if saved.state["dtype"] == "bfloat16" else torch.float32

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            "step": self.step,
            "losses": self.losses,
            "validation_loss": self.validation_loss,
            "seconds": self._seconds(),
            "dtype": self._dtype_name(),
        }
        write_checkpoint(self.folder, state, self.model, self.optimizer)

    def _log(self, progress: TrainingProgress) -> None:
        line = asdict(progress) | {
            "loss": sum(self.losses) / len(self.losses),
            "lr": self.settings.learning_rate(self.step - 1, self.steps),
            "seconds": round(self._seconds(), 1),
        }
        self.losses = []
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def _progress(self) -> TrainingProgress:
        done = (self.step - self.resumed_from) * self.tokens_per_step
        return TrainingProgress(
            step=self.step,
            steps=self.steps,
            tokens=self.step * self.tokens_per_step,
            loss=self.losses[-1],
            validation_loss=self.validation_loss,
            tokens_per_second=round(done / max(time.monotonic() - self.started, 1e-9), 1),
        )

    def _summary(self) -> dict[str, Any]:
        seconds = self._seconds()
        loss, tokens = self.validate(8 * self.settings.validation_blocks)
        return {
            **asdict(self.settings),
            "dtype": self._dtype_name(),
            "tokens": self.step * self.tokens_per_step,
            "steps": self.step,
            "epochs": round(self.step * self.settings.batch / self.order.usable, 4),
            "validation_loss": loss,
            "validation_tokens": tokens,
            "seconds": round(seconds, 1),
            "tokens_per_second": round(self.step * self.tokens_per_step / seconds, 1),
            "threads": torch.get_num_threads(),
        }


@torch.inference_mode()
def validation_loss(model: OneLayerTransformer, blocks: Blocks, n_blocks: int) -> tuple[float, int]:
    """Mean cross-entropy (nats a token) in the model's own precision, and the number of tokens it is over.

    Measured on at most n_blocks blocks spread evenly over the split: the same ones for every seed.
    """
    rows = spread_rows(len(blocks), n_blocks)
    total = 0.0
    for start in range(0, len(rows), 8):  # 8 blocks: their logits stay in the cache
        tokens, targets = inputs_and_targets(blocks, rows[start : start + 8])
        total += F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), reduction="sum").item()
    return total / (len(rows) * blocks.shape[1]), len(rows) * blocks.shape[1]


def _keep_log(folder: Path, step: int) -> None:
    """Drop the log's lines after `step`: the run will write them again."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    if (folder / LOG).exists():
        for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
            if line.endswith("}") and json.loads(line)["step"] <= step:  # a killed run may leave half a line
                lines.append(line + "\n")
    write_atomically(folder / LOG, "".join(lines).encode())


def _difference(saved: dict[str, Any], asked: dict[str, Any]) -> str:
    """The first setting that differs, in words."""
    if saved["corpus"] != asked["corpus"]:
        return "another corpus"
    pairs = {**saved["config"], **saved["settings"]}, {**asked["config"], **asked["settings"]}
    name = next(key for key in pairs[1] if pairs[0].get(key) != pairs[1][key])
    return f"{name} {pairs[0].get(name)}, not {pairs[1][name]}"
