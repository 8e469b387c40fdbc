"""Reading a context store: what a harvest wrote about every unit, one unit at a time and without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput, BadStore
from autointerp.records.pool import Pool, Texts
from autointerp.records.store_files import Array, StoreFiles, open_files
from autointerp.types import Kind, Stratum, UnitId, UnitStatistics, frozen_array

__all__ = ["SINGLE_TOKEN_CONTEXTS", "ContextStore", "StoredUnit"]

SINGLE_TOKEN_CONTEXTS = 20
"""Top contexts whose maximum is on one token where a unit is called a single-token one (TM)."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredUnit:
    """What the store holds of one unit, as read-only views on its files (nothing is copied).

    context [n], focus [n], strata [n], activations [n, window]: its records; random_context [m], random_focus [m],
    random_activations [m, window]: the random contexts, which are the same for all units.
    """

    unit: UnitId
    context: NDArray[np.int32]
    focus: NDArray[np.uint16]
    strata: NDArray[np.uint8]
    activations: NDArray[np.float32]
    random_context: NDArray[np.int32]
    random_focus: NDArray[np.uint16]
    random_activations: NDArray[np.float32]


class ContextStore:
    """A context store on disk, memory-mapped. Made by `ContextStore.open`."""

    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._texts = Texts(files.vocabulary, files.documents, token_ids=True)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> ContextStore:
        """Open a store's folder; `verify` compares every file with its checksum, which reads all of them.

        Raises BadStore with one line where the folder is missing, is no store, is of a newer version, or is damaged:
        a file missing, of another size, type or shape than the manifest says, or with indices out of range.
        """
        return cls(open_files(Path(path), verify=verify))

    @property
    def path(self) -> Path:
        return self._files.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self._files.manifest

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the manifest, which holds the checksum of every file."""
        return self._files.digest

    @property
    def subject(self) -> str:
        return str(self.manifest["subject"]["name"])

    @property
    def hook(self) -> str:
        return str(self.manifest["hook"])

    @property
    def dictionary(self) -> str | None:
        """Name of the dictionary whose features are in the store; None where it holds none."""
        entry = self.manifest.get("dictionary")
        return None if entry is None else str(entry["name"])

    @property
    def control(self) -> str | None:
        """What kind of control the subject is ("shuffled_weights"), or None for the model under study."""
        control: str | None = self.manifest.get("control")
        return control

    @property
    def window(self) -> int:
        """Tokens of a stored context."""
        return int(self.manifest["window"])

    @property
    def n_tokens(self) -> int:
        """Tokens of the corpus that were harvested."""
        return int(self.manifest["corpus"]["tokens"])

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(self._files.statistics)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Display text of each token id."""
        return self._files.vocabulary

    def n_units(self, kind: Kind) -> int:
        """How many units of a kind the store holds. Raises BadInput for a kind it does not hold."""
        if kind not in self.kinds:
            raise BadInput(f"{self.path} holds no units of kind {kind}; it holds {', '.join(self.kinds)}")
        return int(self.manifest["kinds"][kind]["units"])

    def unit(self, kind: Kind, index: int) -> UnitId:
        """The name of a unit. Raises BadInput where the store has none of that kind and index."""
        if not 0 <= index < self.n_units(kind):
            raise BadInput(f"{self.path} holds {self.n_units(kind)} {kind} units: there is no {kind} {index}")
        return UnitId(self.subject, self.hook, kind, self.dictionary if kind is Kind.FEATURE else None, index)

    def unit_ids(self, kind: Kind) -> tuple[UnitId, ...]:
        """All units of a kind, in order."""
        return tuple(self.unit(kind, index) for index in range(self.n_units(kind)))

    def firing(self, kind: Kind) -> NDArray[np.int64]:
        """Indices of the units that fired on at least one token of the corpus, ascending."""
        self.n_units(kind)
        return np.flatnonzero(self._files.statistics[kind]["fired"] > 0)

    def density(self, unit: UnitId) -> float:
        """Share of the corpus' tokens on which a unit fires, in [0, 1]. Raises BadInput for one of another store."""
        return float(self._files.statistics[unit.kind]["fired"][self._index(unit)]) / self.n_tokens

    def single_token(self, unit: UnitId) -> bool | None:
        """Whether the unit's maximum is on the same token in all 20 top contexts (TM: such a unit is easily explained
        whatever the subject has learnt); None where it has fewer. Raises BadInput for a unit of another store.
        """
        stored = self.read(unit)
        top = slice(0, SINGLE_TOKEN_CONTEXTS)
        if (stored.strata[top] == Stratum.TOP).sum() < SINGLE_TOKEN_CONTEXTS:
            return None
        tokens = self._files.arrays["contexts/tokens"][stored.context[top], stored.focus[top]]
        return bool((tokens == tokens[0]).all())

    def densities(self, kind: Kind) -> NDArray[np.float64]:
        """[units] share of the corpus' tokens on which each unit of a kind fires, in [0, 1]."""
        self.n_units(kind)
        fired: NDArray[np.float64] = self._files.statistics[kind]["fired"].astype(np.float64)
        return fired / self.n_tokens

    def release(self) -> None:
        """Gives back the memory that holds what was read of the store's files: for those who walk through all units."""
        self._files.release()

    def read(self, unit: UnitId) -> StoredUnit:
        """The records of a unit. Raises BadInput for a unit that is not in this store."""
        index = self._index(unit)
        arrays, kind = self._files.arrays, unit.kind
        start, stop = arrays[f"{kind}/offsets"][index : index + 2].tolist()
        return StoredUnit(
            unit,
            context=arrays[f"{kind}/context"][start:stop],
            focus=arrays[f"{kind}/focus"][start:stop],
            strata=arrays[f"{kind}/stratum"][start:stop],
            activations=arrays[f"{kind}/activations"][start:stop],
            random_context=arrays["random/context"],
            random_focus=arrays["random/focus"],
            random_activations=arrays[f"{kind}/random"][index],
        )

    def pool(self, unit: UnitId) -> Pool:
        """Every record of a unit, its own and the random ones, as candidates for its splits (copies).

        Raises BadInput for a unit that is not in this store, BadStore where a token or an activation is impossible.
        """
        stored = self.read(unit)
        own = self._columns(stored.context, stored.focus, stored.strata)
        activations = np.concatenate([stored.activations, stored.random_activations])
        if not np.isfinite(activations).all():
            raise BadStore(f"{self.path}: an activation of {unit} is not a finite number; harvest again")
        return Pool(
            unit=unit,
            statistics=self.statistics(unit),
            activations=activations,
            texts=self._texts,
            **{name: np.concatenate([column, self._random[name]]) for name, column in own.items()},
        )

    def statistics(self, unit: UnitId) -> UnitStatistics:
        """What was counted for a unit over the whole corpus. Raises BadInput for a unit that is not in this store."""
        index, kind, arrays = self._index(unit), unit.kind, self._files.arrays
        table = {name: column[index].item() for name, column in self._files.statistics[kind].items()}
        return UnitStatistics(
            n_tokens=self.n_tokens,
            fired=table["fired"],
            maximum=table["max"],
            mean=table["mean"],
            mean_square=table["mean_square"],
            interval_edges=frozen_array(arrays[f"{kind}/interval_edges"][index]),
            interval_tokens=arrays[f"{kind}/interval_tokens"][index],
            histogram=arrays[f"{kind}/histogram"][index],
            histogram_scale=table["scale"],
            top_tokens=tuple(self._words(arrays[f"{kind}/top_tokens"][index])),
            top_logits=self._logits(kind, "top", index),
            bottom_logits=self._logits(kind, "bottom", index),
        )

    def _index(self, unit: UnitId) -> int:
        if self.unit(unit.kind, unit.index) != unit:
            raise BadInput(f"{unit} is not in {self.path}, which holds {self.unit(unit.kind, 0)} and its like")
        return unit.index

    def _columns(self, context: Array, focus: Array, strata: Array) -> dict[str, Array]:
        """What a pool holds about some records that does not depend on the unit."""
        arrays = self._files.arrays
        tokens = arrays["contexts/tokens"][context]
        if tokens.size and not (tokens.min() >= 0 and tokens.max() < len(self.vocabulary)):
            raise BadStore(f"{self.path}/contexts/tokens.npy: a token is not in vocab.json; harvest again")
        return {
            "strata": strata.astype(np.int64),
            "tokens": tokens,
            "lengths": arrays["contexts/length"][context].astype(np.int64),
            "focus": focus.astype(np.int64),
            "positions": arrays["contexts/position"][context],
            "documents": arrays["contexts/document"][context].astype(np.int64),
        }

    @cached_property
    def _random(self) -> dict[str, Array]:
        context, focus = self._files.arrays["random/context"], self._files.arrays["random/focus"]
        return self._columns(context, focus, np.full(len(context), Stratum.RANDOM))

    def _words(self, tokens: Array) -> list[str]:
        """Display texts of token ids; -1 stands for none."""
        ids = [token for token in tokens.tolist() if token >= 0]
        if any(token >= len(self.vocabulary) for token in ids):
            raise BadStore(f"{self.path}: a listed token is not in vocab.json; harvest again")
        return [self.vocabulary[token] for token in ids]

    def _logits(self, kind: Kind, end: str, index: int) -> tuple[tuple[str, float], ...]:
        if f"{kind}/logit_{end}_tokens" not in self._files.arrays:
            return ()
        words = self._words(self._files.arrays[f"{kind}/logit_{end}_tokens"][index])
        values = self._files.arrays[f"{kind}/logit_{end}_values"][index].tolist()
        return tuple(zip(words, values[: len(words)], strict=True))
