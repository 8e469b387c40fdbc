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

__all__ = ["Layers", "PrefixCache", "batch_of", "common_length", "layers_of"]

# Per layer (keys, values) of one prompt, each [heads, positions, width]. Never written in place.
Layers: TypeAlias = tuple[tuple[Tensor, Tensor], ...]


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two prompts share at their beginning."""
    shorter = min(len(one), len(other))
    different = np.flatnonzero(np.asarray(one[:shorter]) != np.asarray(other[:shorter]))
    return int(different[0]) if different.size else shorter


class PrefixCache:
    """The last few prompts' keys and values, found by their tokens.

    A prompt that shares most of its tokens with a stored one takes its place: so each family of prompts (explainer,
    simulator) keeps one entry, and a burst of one family does not drive out the others.
    """

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self._stored: OrderedDict[tuple[int, ...], Layers] = OrderedDict()

    def find(self, ids: tuple[int, ...], limit: int) -> tuple[Layers, int]:
        """The layers of the stored prompt with the longest common beginning, and its length, at most `limit`."""
        best, length = None, 0
        for stored in self._stored:
            common = common_length(stored, ids)
            if common > length:
                best, length = stored, common
        if best is None:
            return (), 0
        self._stored.move_to_end(best)
        return self._stored[best], min(length, limit)

    def store(self, ids: tuple[int, ...], layers: Layers) -> None:
        """Keeps `layers` of the whole prompt `ids` in the place of its nearest relatives, or of the oldest entry."""
        if not self.entries:
            return
        relatives = [stored for stored in self._stored if 2 * common_length(stored, ids) >= len(ids)]
        for stored in relatives:
            del self._stored[stored]
        self._stored[ids] = layers
        if len(self._stored) > self.entries:
            self._stored.popitem(last=False)


def batch_of(rows: Sequence[Layers], lengths: Sequence[int], room: int) -> DynamicCache:
    """One cache for several prompts: of each row its first `length` positions, padded at the left to the longest.

    A row whose length is 0 may have no layers. room: positions set aside for what a pass will add.
    """
    cache = DynamicCache()
    known = [(row, layers, length) for row, (layers, length) in enumerate(zip(rows, lengths, strict=True)) if length]
    if not known:
        return cache
    past = max(lengths)
    for layer, (like_keys, like_values) in enumerate(known[0][1]):
        keys, values = (_space(len(rows), past + room, like) for like in (like_keys, like_values))
        for row, layers, length in known:
            held = slice(past - length, past)
            keys[row, :, held], values[row, :, held] = (states[:, :length] for states in layers[layer])
        cache.layers.append(_RoomyLayer(keys, values, past))
    return cache


def _space(rows: int, positions: int, like: Tensor) -> Tensor:
    return torch.zeros(rows, like.shape[0], positions, like.shape[2], dtype=like.dtype, device=like.device)


def layers_of(cache: DynamicCache, row: int, start: int, length: int) -> Layers:
    """A copy of one row's `length` positions from `start`, so that the batch it was computed in can be let go."""
    layers: Sequence[Any] = cache.layers
    cut = slice(start, start + length)
    return tuple((layer.keys[row, :, cut].clone(), layer.values[row, :, cut].clone()) for layer in layers)


class _RoomyLayer(DynamicLayer):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """A layer that writes into room set aside for it; the library's own copies all it holds at every token."""

    def __init__(self, keys: Tensor, values: Tensor, used: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._spaces = (keys, values)
        self._used = used
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Appends [batch, heads, new, width] and returns all that is held, as views."""
        new = slice(self._used, self._used + key_states.shape[2])
        for space, states in zip(self._spaces, (key_states, value_states), strict=True):
            space[:, :, new] = states
        self._used = new.stop
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps only these rows."""
        self._spaces = (self._spaces[0][indices], self._spaces[1][indices])
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = (space[:, :, : self._used] for space in self._spaces)
        self.keys, self.values = keys, values
        return keys, values
