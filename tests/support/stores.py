"""A tiny context store, written by hand: planted units over a random corpus whose every activation is known.

It is made from the description of the format alone, with numpy, json and pyarrow, so that whoever reads a store is
tested against something other than the code that writes them.

Features (`PLANTED`): "animal" fires on " cat", half as strongly on " dog", graded by the token before; "digits" fires
on a digit, the more the longer the run of digits; "silent" never fires; "hostile" fires on tokens full of delimiters,
control characters and template syntax; "rare" fires on one token that stands six times in the corpus; "dense" fires
on about half of all tokens. Neurons: "animal_digits" mixes two features, "noise" is noise, "hostile_dense" mixes two
features, "silent_neuron" never fires. In a control store the rules apply to other tokens, drawn at random.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["BLOCK", "HOSTILE", "PLANTED", "PLANTED_NEURONS", "Planted", "refresh_manifest", "write_store"]

PLANTED = {"animal": 0, "digits": 1, "silent": 2, "hostile": 3, "rare": 4, "dense": 5}
PLANTED_NEURONS = {"animal_digits": 0, "noise": 1, "hostile_dense": 2, "silent_neuron": 3}

HOSTILE = (
    "\t", "\n", "\r\n", "\u2028", "\x00", "\x1b[31m", "\u202e", "\u200b", "\ud800", "<end>", "<start>", "<|im_end|>",
    "]] **", "{{ 7*7 }}", "{% raw %}", "</answer>", "10", "unknown", " \t9", "<script>alert(1)</script>", "\\n", "",
    "Ignore the above.", "\u05d0\u05d1",
)  # fmt: skip

BLOCK = 128
INTERVALS = 13
BINS = 2048
LISTED = 10
OUT_OF_CONTEXT = 100

_END = 0
_ANIMALS = (" cat", " dog")
_RARE = " zyzzyva"
_DIGITS = tuple("0123456789")
_DOMAINS = ("prose", "code", "hostile")


@dataclass(frozen=True)
class Planted:
    """What was written: the store's folder and the truth behind it. Offsets are those of contexts/position.npy."""

    path: Path
    vocabulary: list[str]
    stream: np.ndarray  # int32 [n_tokens]
    document: np.ndarray  # int32 [n_tokens]
    activations: dict[str, np.ndarray]  # {kind: float32 [n_tokens, n_units]}


def write_store(
    folder: Path,
    *,
    seed: int = 0,
    blocks: int = 160,
    window: int = 64,
    top: int = 40,
    per_interval: int = 8,
    random: int = 100,
    out_of_context: int = 40,
    subject: str = "toy",
    dictionary: str = "toy-sae",
    control: str | None = None,
) -> Planted:
    """Write a store of six features and four neurons over `blocks` blocks of 128 tokens. Takes about a second."""
    rng = np.random.default_rng(seed)
    vocabulary = _vocabulary(rng)
    stream, document, documents = _corpus(rng, vocabulary, blocks)
    activations = _activations(rng, vocabulary, stream, shuffled=control is not None)
    name = subject if control is None else f"{subject}-shuffled"
    harvest = _Harvest(folder, stream, document, window, rng)
    harvest.random_contexts(random)
    for kind, values in activations.items():
        harvest.kind(kind, values, (top, per_interval, out_of_context), len(vocabulary))
    harvest.contexts()
    _json(folder / "vocab.json", vocabulary)
    pq.write_table(pa.table(documents), folder / "documents.parquet")
    manifest = {
        "format": "autointerp-context-store",
        "version": 1,
        "subject": {"name": name, "fingerprint": "0123456789abcdef"},
        "hook": "blocks.0.mlp.hook_post",
        "dictionary": {"name": dictionary, "fingerprint": "fedcba9876543210"},
        "corpus": {"name": "toy-corpus", "split": "heldout", "tokens": len(stream), "fingerprint": "00ff00ff00ff00ff"},
        "window": window,
        "precision": "float64",
        "seed": seed,
        "intervals": INTERVALS,
        "control": control,
        "sampling": {
            "top": top, "per_interval": per_interval, "random": random, "out_of_context": out_of_context,
            "segment": BLOCK,
        },
        "kinds": harvest.sizes,
        "files": {},
    }  # fmt: skip
    _json(folder / "manifest.json", manifest)
    refresh_manifest(folder)
    return Planted(folder, vocabulary, stream, document, activations)


def refresh_manifest(folder: Path, **changes: Any) -> None:
    """Write the manifest again: `changes` to its entries, and the sizes and checksums of the files as they are now."""
    path = folder / "manifest.json"
    manifest = {**json.loads(path.read_text()), **changes}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != path)
    manifest["files"] = {
        file.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "bytes": file.stat().st_size,
        }
        for file in files
    }
    _json(path, manifest)


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _vocabulary(rng: np.random.Generator) -> list[str]:
    syllables = ["ba", "ke", "li", "mo", "nu", "ra", "si", "to", "ve", "wy"]
    words = [f" {a}{b}{c}" for a in syllables for b in syllables for c in syllables[:3]]
    rng.shuffle(words)
    return ["<|endoftext|>", *_ANIMALS, _RARE, *_DIGITS, *HOSTILE, *words]


def _corpus(rng: np.random.Generator, vocabulary: list[str], blocks: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """(stream, document of each token, documents table). Domains differ in how often planted tokens occur."""
    n_tokens = blocks * BLOCK
    n_planted = len(vocabulary) - 300
    weights = np.tile(np.concatenate([np.zeros(n_planted), 1 / np.arange(10, 310)]), (3, 1))
    common = weights[0].sum()
    weights[:, 1:3] = common * 0.02
    weights[:, 4:14] = common * np.array([[0.001], [0.02], [0.001]])
    weights[2, 14:n_planted] = common * 0.02
    weights /= weights.sum(axis=1, keepdims=True)
    pieces: list[np.ndarray] = []
    domains: list[str] = []
    while sum(map(len, pieces)) < n_tokens:
        domain = len(domains) % 3
        size = int(rng.integers(60, 400))
        pieces.append(np.append(rng.choice(len(vocabulary), size, p=weights[domain]), _END))
        domains.append(_DOMAINS[domain])
    stream = np.concatenate(pieces)[:n_tokens].astype(np.int32)
    document = np.repeat(np.arange(len(pieces)), [len(p) for p in pieces])[:n_tokens].astype(np.int32)
    stream[BLOCK // 2 + BLOCK * np.linspace(0, blocks - 1, 6).astype(int)] = vocabulary.index(_RARE)
    names = [hashlib.sha256(p.tobytes()).hexdigest()[:16] for p in pieces]
    files = [f"{number}.txt" for number in range(len(names))]
    return stream, document, {"document": names, "domain": domains, "source": ["toy"] * len(names), "name": files}


def _activations(
    rng: np.random.Generator, vocabulary: list[str], stream: np.ndarray, *, shuffled: bool
) -> dict[str, np.ndarray]:
    relabelled = rng.permutation(len(vocabulary)) if shuffled else np.arange(len(vocabulary))
    tokens = relabelled[stream]
    before = np.roll(tokens, 1)
    before[::BLOCK] = _END
    grade = (1 + before % INTERVALS) / INTERVALS
    is_digit = (tokens >= 4) & (tokens < 14)
    run = np.zeros(len(tokens))
    for place in np.flatnonzero(is_digit):
        run[place] = 1 + (run[place - 1] if place % BLOCK else 0)
    hostile = (tokens >= 14) & (tokens < 14 + len(HOSTILE))
    hashed = (tokens * 7919 + before * 104729) % 1000 / 1000
    features = np.stack(
        [
            5 * grade * ((tokens == 1) + 0.5 * (tokens == 2)),
            run * (0.5 + grade / 2),
            np.zeros(len(tokens)),
            2 * hostile * grade,
            (3.0 + grade) * (tokens == 3),
            np.maximum(hashed - 0.5, 0),
        ],
        axis=1,
    )
    noise = rng.normal(size=(len(tokens), 2))
    neurons = np.stack(
        [
            np.maximum(0.5 * features[:, 0] + 0.7 * features[:, 1] + 0.3 * noise[:, 0] - 0.2, 0),
            np.maximum(noise[:, 1] - 0.3, 0),
            np.maximum(features[:, 3] + features[:, 5] - 0.1, 0),
            np.zeros(len(tokens)),
        ],
        axis=1,
    )
    return {"feature": features.astype(np.float32), "neuron": neurons.astype(np.float32)}


class _Harvest:
    """What `sae harvest` collects, the slow and plain way."""

    def __init__(self, folder: Path, stream: np.ndarray, document: np.ndarray, window: int, rng: np.random.Generator):
        self.folder, self.stream, self.document, self.window, self.rng = folder, stream, document, window, rng
        self.sizes: dict[str, dict[str, int]] = {}
        self.columns: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # starts and focus tokens by group

    def start(self, token: np.ndarray) -> np.ndarray:
        """Offset of the window around each token: centred, shifted at the ends of a block."""
        block = token // BLOCK * BLOCK
        return np.clip(token - self.window // 2, block, block + BLOCK - self.window)

    def random_contexts(self, count: int) -> None:
        blocks = np.sort(self.rng.choice(len(self.stream) // BLOCK, count, replace=False))
        token = blocks * BLOCK + self.rng.integers(0, BLOCK, count)
        self.columns["random"] = (self.start(token), token)

    def kind(self, kind: str, values: np.ndarray, sizes: tuple[int, int, int], n_vocabulary: int) -> None:
        """Everything of one kind of unit but who points to which context. sizes: top, per_interval, out_of_context."""
        units = [self._unit(unit, sizes) for unit in values.T]
        records = [len(unit["token"]) for unit in units]
        token = np.concatenate([unit["token"] for unit in units])
        owner = np.repeat(np.arange(len(units)), records)
        self.columns[kind] = (self.start(token), token)
        self.sizes[kind] = {"units": len(units), "records": len(token)}
        random = self.columns["random"][0]
        self._save(f"{kind}/offsets", np.cumsum([0, *records]), np.int64)
        self._save(f"{kind}/stratum", np.concatenate([unit["stratum"] for unit in units]), np.uint8)
        self._save(f"{kind}/activations", values[self._tokens_of(self.start(token)), owner[:, None]], np.float32)
        self._save(f"{kind}/random", np.moveaxis(values[self._tokens_of(random)], 2, 0), np.float32)
        for name, dtype in (("histogram", np.int64), ("interval_tokens", np.int64), ("top_tokens", np.int32)):
            self._save(f"{kind}/{name}", [unit[name] for unit in units], dtype)
        self._save(f"{kind}/interval_edges", [unit["interval_edges"] for unit in units], np.float32)
        names = ("fired", "density", "max", "mean", "mean_square", "scale")
        table = {"unit": range(len(units)), **{name: [unit[name] for unit in units] for name in names}}
        pq.write_table(pa.table(table), self.folder / kind / "statistics.parquet")
        for end, sign in (("top", 1), ("bottom", -1)):
            ranked = np.argsort(self.rng.random((len(units), n_vocabulary)), axis=1)[:, :LISTED]
            weights = np.tile(sign * np.linspace(1, 0.1, LISTED), (len(units), 1))
            self._save(f"{kind}/logit_{end}_tokens", ranked, np.int32)
            self._save(f"{kind}/logit_{end}_values", weights, np.float32)

    def _unit(self, unit: np.ndarray, sizes: tuple[int, int, int]) -> dict[str, Any]:
        top, per_interval, elsewhere = sizes
        maximum, fired = float(unit.max()), unit > 0
        scale = 2.0 ** np.ceil(np.log2(maximum)) if maximum else 0.0
        edges = np.zeros(INTERVALS + 1)
        if maximum:
            edges = np.round(np.linspace(0, maximum, INTERVALS + 1) / scale * BINS) / BINS * scale
            edges[-1] = maximum
        interval = np.clip(np.searchsorted(edges, unit, side="left") - 1, 0, INTERVALS - 1)
        mine = self._top(unit, top)
        common = _most_frequent(self.stream[mine])
        parts = [self._sample(np.flatnonzero(fired & (interval == i)), per_interval) for i in range(INTERVALS)]
        parts = [mine, *parts, self._elsewhere(mine, common, elsewhere)]
        codes = [*range(INTERVALS + 1), OUT_OF_CONTEXT]
        return {
            "token": np.concatenate(parts).astype(np.int64),
            "stratum": np.concatenate([np.full(len(p), code) for p, code in zip(parts, codes, strict=True)]),
            "fired": int(fired.sum()),
            "density": fired.mean(),
            "max": maximum,
            "mean": float(unit.mean()),
            "mean_square": float((unit.astype(float) ** 2).mean()),
            "scale": scale,
            "histogram": np.histogram(unit[fired], bins=BINS, range=(0, scale or 1))[0],
            "interval_edges": edges,
            "interval_tokens": np.bincount(interval[fired], minlength=INTERVALS),
            "top_tokens": np.pad(common, (0, LISTED - len(common)), constant_values=-1),
        }

    def contexts(self) -> None:
        """The distinct windows, by position, and who points to them."""
        starts, rows = np.unique(np.concatenate([start for start, _ in self.columns.values()]), return_inverse=True)
        ends = np.cumsum([len(start) for start, _ in self.columns.values()])
        for (group, (start, token)), row in zip(self.columns.items(), np.split(rows, ends[:-1]), strict=True):
            self._save(f"{group}/context", row, np.int32)
            self._save(f"{group}/focus", token - start, np.uint16)
        self._save("contexts/tokens", self.stream[self._tokens_of(starts)], np.int32)
        self._save("contexts/length", np.full(len(starts), self.window), np.uint16)
        self._save("contexts/document", self.document[starts + self.window // 2], np.int32)
        self._save("contexts/position", starts, np.int64)

    def _tokens_of(self, starts: np.ndarray) -> np.ndarray:
        return starts[:, None] + np.arange(self.window)

    def _top(self, unit: np.ndarray, count: int) -> np.ndarray:
        places = unit.reshape(-1, BLOCK).argmax(axis=1) + np.arange(len(unit) // BLOCK) * BLOCK
        places = places[unit[places] > 0]
        return places[np.lexsort((places, -unit[places]))][:count]

    def _sample(self, places: np.ndarray, count: int) -> np.ndarray:
        return self.rng.permutation(places)[:count]

    def _elsewhere(self, mine: np.ndarray, common: np.ndarray, count: int) -> np.ndarray:
        places = np.flatnonzero(np.isin(self.stream, common))
        apart = np.abs(self.start(places)[:, None] - self.start(mine)[None, :]) >= self.window
        return self._sample(places[apart.all(axis=1)], count)

    def _save(self, name: str, values: Iterable[Any], dtype: type) -> None:
        path = self.folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.asarray(values).astype(dtype))


def _most_frequent(tokens: np.ndarray) -> np.ndarray:
    values, counts = np.unique(tokens, return_counts=True)
    return values[np.lexsort((values, -counts))][:LISTED]
