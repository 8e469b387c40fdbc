"""Keys and values of past tokens: what was computed for one prompt is used again where another begins the same way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

__all__ = ["Layers", "PrefixCache", "batch_of", "cache_of", "layers_of"]

# Per layer (keys, values), each [batch, heads, positions, width]. Never written in place once stored.
Layers: TypeAlias = tuple[tuple[Tensor, Tensor], ...]


def cache_of(layers: Layers, length: int) -> DynamicCache:
    """A cache for the model's forward pass that begins with the first `length` positions of `layers`."""
    return DynamicCache([(keys[:, :, :length], values[:, :, :length]) for keys, values in layers])


def layers_of(cache: DynamicCache) -> Layers:
    """What a forward pass left in its cache."""
    layers: Sequence[Any] = cache.layers
    return tuple((layer.keys, layer.values) for layer in layers)


class PrefixCache:
    """The last few prompts' keys and values, found by their tokens.

    A prompt that shares most of its tokens with a stored one takes its place: so each family of prompts (explainer,
    simulator) keeps one entry, and a burst of one family does not drive out the others.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._stored: OrderedDict[tuple[int, ...], Layers] = OrderedDict()

    def find(self, ids: tuple[int, ...], limit: int) -> tuple[Layers, int]:
        """The layers of the stored prompt with the longest common beginning, and its length, at most `limit`."""
        best, length = None, 0
        for stored in self._stored:
            common = _common(stored, ids)
            if common > length:
                best, length = stored, common
        if best is None:
            return (), 0
        self._stored.move_to_end(best)
        return self._stored[best], min(length, limit)

    def store(self, ids: tuple[int, ...], layers: Layers) -> None:
        """Keeps `layers` of the whole prompt `ids` in the place of its nearest relative, or of the oldest entry."""
        if not self._entries:
            return
        relatives = [stored for stored in self._stored if 2 * _common(stored, ids) >= len(ids)]
        for stored in relatives:
            del self._stored[stored]
        self._stored[ids] = layers
        if len(self._stored) > self._entries:
            self._stored.popitem(last=False)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two prompts share at their beginning."""
    shorter = min(len(one), len(other))
    different = np.flatnonzero(np.asarray(one[:shorter]) != np.asarray(other[:shorter]))
    return int(different[0]) if different.size else shorter


def batch_of(rows: Sequence[Layers], room: int) -> DynamicCache:
    """One cache for several prompts, padded at the left to the longest, with `room` positions for generated tokens."""
    cache = DynamicCache()
    for pairs in zip(*rows, strict=True):
        cache.layers.append(_RoomyLayer(pairs, room))
    return cache


class _RoomyLayer(DynamicLayer):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """A layer that writes into room set aside for it; the library's own copies all it holds at every token."""

    def __init__(self, rows: Sequence[tuple[Tensor, Tensor]], room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        first = rows[0][0]
        self._used = max(keys.shape[2] for keys, _ in rows)
        shape = (2, len(rows), first.shape[1], self._used + room, first.shape[3])
        self._space = torch.zeros(shape, dtype=first.dtype, device=first.device)
        for row, pair in enumerate(rows):
            for part, states in enumerate(pair):
                self._space[part, row, :, self._used - states.shape[2] : self._used] = states[0]
        self.dtype, self.device, self.is_initialized = first.dtype, first.device, True
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Appends [batch, heads, new, width] and returns all that is held, as views."""
        new = slice(self._used, self._used + key_states.shape[2])
        self._space[0][:, :, new] = key_states
        self._space[1][:, :, new] = value_states
        self._used = new.stop
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps only these rows."""
        self._space = self._space[:, indices]
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = self._space[0][:, :, : self._used], self._space[1][:, :, : self._used]
        self.keys, self.values = keys, values
        return keys, values
