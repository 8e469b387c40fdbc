"""The second pass: activations on all tokens of the chosen windows, written to mapped files block by block.

Only the subject runs on the blocks that are needed, and only the latents that a block's records ask for are computed.
Blocks go through it by the same number at a time whatever the batch of the scan was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae.errors import SaeError
from sae.harvest.activations import LatentSource, NeuronSource
from sae.harvest.ahead import computed_ahead
from sae.harvest.records import Records
from sae.harvest.scan import Text

_BLOCKS_AT_ONCE = 32


@dataclass(frozen=True)
class Target:
    """Where the activations of one kind of unit go.

    activations: float32 [n_records, window]. random: float32 [n_units, n_random, window].
    """

    records: Records
    activations: NDArray[np.float32]
    random: NDArray[np.float32]


class Materialiser:
    """Fills the targets of all kinds ("neuron", and "feature" with `latents`) on one text."""

    def __init__(
        self,
        neurons: NeuronSource,
        latents: LatentSource | None,
        text: Text,
        window: int,
        random_start: NDArray[np.int64],
        targets: Mapping[str, Target],
    ) -> None:
        self._neurons, self._latents, self._text = neurons, latents, text
        self._offsets, self._targets = np.arange(window), targets
        self._random_start = random_start
        self._order = {kind: np.argsort(target.records.start, kind="stable") for kind, target in targets.items()}
        self._sorted = {kind: target.records.start[self._order[kind]] for kind, target in targets.items()}

    def run(self, progress: Callable[[str, int, int], None], stop: Callable[[], bool]) -> None:
        """Fill them. Raises KeyboardInterrupt when `stop()` turns true between two batches."""
        every = np.concatenate([*self._sorted.values(), self._random_start])
        blocks = np.unique(every // self._text.block_tokens)
        batches = [blocks[start : start + _BLOCKS_AT_ONCE] for start in range(0, len(blocks), _BLOCKS_AT_ONCE)]
        done, total = 0, len(blocks) * self._text.block_tokens
        progress("records", done, total)
        for filled in computed_ahead(lambda batch, slot: self._fill(batch), batches, torch.get_num_threads()):
            done += filled
            progress("records", done * self._text.block_tokens, total)
            if stop():
                raise KeyboardInterrupt

    def _fill(self, batch: NDArray[np.int64]) -> int:
        """Write what the records and random contexts in these blocks ask for. Returns the number of blocks."""
        size = self._text.block_tokens
        x = self._neurons(self._text.blocks[batch])
        for row, block in enumerate(batch.tolist()):
            here = x[row * size : (row + 1) * size]
            for kind, target in self._targets.items():
                chosen = self._rows(self._sorted[kind], block)
                rows = self._order[kind][chosen]
                if len(rows):
                    within = self._sorted[kind][chosen] - block * size
                    target.activations[rows] = self._windows(kind, here, target.records.unit[rows], within)
            for number in self._rows(self._random_start, block):
                within = self._random_start[number] - block * size
                part = here[within : within + len(self._offsets)]
                for kind, target in self._targets.items():
                    target.random[:, number] = self._all(kind, part).T
        return len(batch)

    def _rows(self, starts: NDArray[np.int64], block: int) -> NDArray[np.int64]:
        size = self._text.block_tokens
        return np.arange(*np.searchsorted(starts, (block * size, (block + 1) * size)))

    def _windows(
        self, kind: str, here: Tensor, unit: NDArray[np.int64], within: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Activations [n, window] of each unit on the window that begins `within` tokens into the block."""
        if kind == "neuron":
            dense, column = here.numpy(), unit
        else:
            assert self._latents is not None
            few, column = np.unique(unit, return_inverse=True)
            dense = self._latents.some(here, few)
        windows: NDArray[np.float32] = dense[within[:, None] + self._offsets, column[:, None]].astype(np.float32)
        return windows

    def _all(self, kind: str, x: Tensor) -> NDArray[np.float32]:
        """Activations [tokens, units] of all units of a kind."""
        if kind == "neuron":
            return x.numpy().astype(np.float32)
        assert self._latents is not None
        return self._latents.every(x).astype(np.float32)


def check_foci(kind: str, target: Target, scale: NDArray[np.float64], tolerance: float) -> None:
    """Raise SaeError unless every record has at its focus the activation that it was chosen for.

    tolerance: of the difference, in parts of the unit's scale.
    """
    records = target.records
    known = np.flatnonzero(~np.isnan(records.scanned))
    stored = target.activations[known, records.focus[known] - records.start[known]]
    apart = np.abs(stored.astype(np.float64) - records.scanned[known])
    wrong = np.flatnonzero(apart > tolerance * scale[records.unit[known]])
    if len(wrong):
        row = known[wrong[0]]
        raise SaeError(
            f"internal error: {kind} {records.unit[row]} had activation {records.scanned[row]} at offset "
            f"{records.focus[row]} in the scan and {stored[wrong[0]]} afterwards ({len(wrong)} such records)"
        )
