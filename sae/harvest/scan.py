"""The one full pass over the corpus: what every unit does on every token, tallied in memory of fixed size.

The state of the pass is written to a checkpoint now and then; a pass that was killed goes on from there and ends with
the same bytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sae.files import whole_file
from sae.harvest.activations import LatentSource, NeuronSource
from sae.harvest.ahead import computed_ahead
from sae.harvest.priorities import hashes, key_for
from sae.harvest.settings import HarvestSettings
from sae.harvest.tally import Dense, Passage, State, UnitTally

CHECKPOINT_TOKENS = 1 << 20
"""Tokens between checkpoints, a minute or less."""

KINDS = ("feature", "neuron")
Progress = Callable[[str, int, int], None]
"""Told the stage, and how many of its tokens are done, of how many."""


@dataclass(frozen=True)
class Text:
    """The blocks that are harvested: rows [n] (ascending) of the split's blocks [n_blocks, block_tokens]."""

    blocks: NDArray[np.unsignedinteger]
    rows: NDArray[np.int64]

    @property
    def block_tokens(self) -> int:
        return int(self.blocks.shape[1])

    @property
    def tokens(self) -> int:
        return len(self.rows) * self.block_tokens

    def tokens_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Token ids at these offsets in the split."""
        block, within = np.divmod(positions, self.block_tokens)
        return self.blocks[block, within].astype(np.int64)

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Offset in the split of every token of these blocks, flattened."""
        return (rows[:, None] * self.block_tokens + np.arange(self.block_tokens)).reshape(-1)


def choose_text(blocks: NDArray[np.unsignedinteger], tokens: int | None) -> Text:
    """All blocks, or so many that they hold about `tokens` (at least one block), evenly spread over the split."""
    wanted = len(blocks) if tokens is None else min(len(blocks), max(1, tokens // blocks.shape[1]))
    return Text(blocks, np.arange(wanted) * len(blocks) // wanted)


def segments_per_block(block_tokens: int, window: int) -> int:
    """Equal segments of two windows or more in a block. Each gives a unit one candidate for its top contexts."""
    return max(1, block_tokens // (2 * window))


@dataclass(frozen=True)
class Batch:
    """Activations by kind, on the tokens of a passage of n_blocks blocks."""

    passage: Passage
    dense: Mapping[str, Dense]
    n_blocks: int


class Scan:
    """A pass over the text for the neurons of a hook and, if given, the latents of a dictionary over it."""

    def __init__(
        self, neurons: NeuronSource, latents: LatentSource | None, text: Text, settings: HarvestSettings
    ) -> None:
        self._neurons, self._latents, self._text, self._settings = neurons, latents, text, settings
        self._position_key = key_for(settings.seed, "harvest position")
        self.done = 0
        widths = {"neuron": neurons.width} | ({"feature": latents.width} if latents else {})
        self.tallies = {
            kind: UnitTally(unit_hashes(settings.seed, kind, widths[kind]), settings.top, self._per_stratum)
            for kind in KINDS
            if kind in widths
        }

    @property
    def _per_stratum(self) -> int:
        # A slice covers two strata or more in full, so twice what is wanted leaves room for a steep distribution.
        return max(16, 2 * self._settings.per_interval)

    def batches(self) -> list[NDArray[np.int64]]:
        """Rows of the blocks still to be scanned, a batch each."""
        at_once = self._settings.batch
        if self._latents is not None:
            at_once = min(at_once, max(1, self._latents.tokens_at_once() // self._text.block_tokens))
        return [self._text.rows[start : start + at_once] for start in range(self.done, len(self._text.rows), at_once)]

    def compute(self, rows: NDArray[np.int64], slot: int) -> Batch:
        """Activations on these blocks. In the memory of `slot`: see `computed_ahead`."""
        x = self._neurons(self._text.blocks[rows])
        dense = {"neuron": Dense(x.numpy())}
        if self._latents is not None:
            dense["feature"] = self._latents.dense(x, slot)
        return Batch(self._passage(rows), dense, len(rows))

    def tally(self, batch: Batch) -> None:
        """Count the next batch."""
        for kind, dense in batch.dense.items():
            self.tallies[kind].add(dense, batch.passage)
        self.done += batch.n_blocks

    def _passage(self, rows: NDArray[np.int64]) -> Passage:
        size = self._text.block_tokens
        segments = segments_per_block(size, self._settings.window)
        block = np.repeat(np.arange(len(rows)), size)
        segment = block * segments + np.tile(np.arange(size) * segments // size, len(rows))
        position = self._text.positions(rows)
        return Passage(position, hashes(position, self._position_key), block, segment)

    def run(
        self, checkpoint: Path, identity: str, progress: Progress, stop: Callable[[], bool]
    ) -> dict[str, UnitTally]:
        """Run to the end, from the checkpoint if it is of this very harvest, and leave the finished state there.

        `identity` says which harvest it is. When `stop()` turns true between two batches, the state is saved and
        KeyboardInterrupt raised.
        """
        self.resume(checkpoint, identity)
        saved, size = self.done, self._text.block_tokens
        progress("scan", self.done * size, self._text.tokens)
        with closing(computed_ahead(self.compute, self.batches(), torch.get_num_threads())) as batches:
            for batch in batches:
                self.tally(batch)
                progress("scan", self.done * size, self._text.tokens)
                stopping = stop()
                if stopping or (self.done - saved) * size >= CHECKPOINT_TOKENS:
                    self.save(checkpoint, identity)
                    saved = self.done
                if stopping:
                    raise KeyboardInterrupt
        self.save(checkpoint, identity)
        return self.tallies

    def save(self, path: Path, identity: str) -> None:
        """Write a checkpoint, whole or not at all. `identity` says which harvest it belongs to."""
        arrays: State = {"done": np.array(self.done), "identity": np.array(identity)}
        for kind, tally in self.tallies.items():
            arrays |= {f"{kind}/{name}": array for name, array in tally.state().items()}
        with whole_file(path) as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    def resume(self, path: Path, identity: str) -> bool:
        """Take over a checkpoint of this very harvest. False, and nothing changed, if there is none that is whole."""
        stored = _read_checkpoint(path)
        if stored is None or str(stored["identity"]) != identity:
            return False
        self.done = int(stored["done"].item())
        for kind, tally in self.tallies.items():
            prefix = kind + "/"
            tally.restore({name.removeprefix(prefix): a for name, a in stored.items() if name.startswith(prefix)})
        return True


def _read_checkpoint(path: Path) -> State | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (FileNotFoundError, zipfile.BadZipFile, ValueError, EOFError):
        return None


def unit_hashes(seed: int, kind: str, n_units: int) -> NDArray[np.uint32]:
    """The hash of each unit that makes its random order of the tokens its own."""
    return hashes(np.arange(n_units), key_for(seed, f"harvest {kind}"))
