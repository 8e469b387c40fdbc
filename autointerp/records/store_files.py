"""The files of a context store: opened as memory maps and checked, so that reading a unit need not be careful.

What is checked on opening costs little: the manifest, every file's size, every array's type and shape, and the index
arrays, which are small. The contents of the large arrays are compared with their checksums only where that is asked.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from autointerp.errors import BadStore
from autointerp.types import Kind, Stratum

__all__ = ["Array", "StoreFiles", "open_files"]

_FORMAT = "autointerp-context-store"
_VERSION = 1
_INTERVALS = 13
_STATISTICS = ("fired", "max", "mean", "mean_square", "scale")

Array: TypeAlias = NDArray[Any]
_Shape: TypeAlias = tuple[int | None, ...]  # None: whatever the file holds


@dataclass(frozen=True, slots=True, eq=False)
class StoreFiles:
    """A checked store. arrays: by relative name without ".npy", read-only views of the files; statistics: columns by
    kind; documents: (id, domain) by row; vocabulary: display text by token id; digest: SHA-256 of the manifest."""

    path: Path
    manifest: Mapping[str, Any]
    arrays: Mapping[str, Array]
    statistics: Mapping[Kind, Mapping[str, Array]]
    documents: tuple[tuple[str, str], ...]
    vocabulary: tuple[str, ...]
    digest: str

    def release(self) -> None:
        """Gives back the memory that holds what was read of the files; what is read again is read from the disk."""
        if not hasattr(mmap, "MADV_DONTNEED"):  # not every system can; the pages are then its own to reclaim
            return
        for array in self.arrays.values():
            mapped = array.base.base if array.base is not None else None  # a view, of a memmap, of the file
            if isinstance(mapped, mmap.mmap):
                mapped.madvise(mmap.MADV_DONTNEED)


def open_files(path: Path, *, verify: bool) -> StoreFiles:
    """Open and check a store's folder. Raises BadStore with one line saying what is wrong with which file."""
    manifest, digest = _manifest(path)
    kinds = _kinds(path, manifest)
    _check_files(path, manifest["files"], verify=verify)
    vocabulary = _vocabulary(path)
    documents = _table(path, "documents.parquet", ("document", "domain"), None)
    arrays = _arrays(path, manifest, kinds)
    _check_indices(path, arrays, kinds, n_documents=len(documents["document"]))
    statistics = {
        kind: _table(path, f"{kind}/statistics.parquet", _STATISTICS, size["units"]) for kind, size in kinds.items()
    }
    pairs = tuple(zip(documents["document"].tolist(), documents["domain"].tolist(), strict=True))
    return StoreFiles(path, manifest, arrays, statistics, pairs, vocabulary, digest)


def _manifest(path: Path) -> tuple[dict[str, Any], str]:
    file = path / "manifest.json"
    if not path.is_dir():
        raise BadStore(f"{path}: no such folder; a context store is made by: sae harvest")
    try:
        content = file.read_bytes()
        manifest = json.loads(content)
    except FileNotFoundError:
        raise BadStore(f"{path}: not a context store (it has no manifest.json)") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadStore(f"{file}: cannot be read as JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise BadStore(f"{path}: not a context store (manifest.json says format {found!r}, not {_FORMAT!r})")
    _check_version(path, manifest.get("version"))
    for key, kind in _REQUIRED.items():
        if not isinstance(manifest.get(key), kind):
            raise BadStore(f"{file}: {key!r} is missing or is not what it must be; harvest again")
    return manifest, hashlib.sha256(content).hexdigest()


_REQUIRED: dict[str, type] = {"subject": dict, "hook": str, "corpus": dict, "window": int, "kinds": dict, "files": dict}


def _check_version(path: Path, version: object) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BadStore(f"{path}: manifest.json has no valid format version ({version!r})")
    if version > _VERSION:
        raise BadStore(
            f"{path}: written in format version {version}, and this program reads up to {_VERSION}: update autointerp"
        )


def _kinds(path: Path, manifest: Mapping[str, Any]) -> dict[Kind, dict[str, int]]:
    kinds = {}
    for name, size in manifest["kinds"].items():
        units, records = (size.get("units"), size.get("records")) if isinstance(size, dict) else (None, None)
        if name not in set(Kind) or not (_is_count(units) and _is_count(records)):
            raise BadStore(f"{path}/manifest.json: 'kinds' has an entry that cannot be used: {name!r}: {size!r}")
        kinds[Kind(name)] = {"units": units, "records": records}
    subject, corpus, dictionary = manifest["subject"], manifest["corpus"], manifest.get("dictionary")
    if not _is_name(subject.get("name")) or not _is_name(manifest["hook"]) or not _is_count(corpus.get("tokens")):
        raise BadStore(
            f"{path}/manifest.json: the subject's name, the hook or the number of tokens of the corpus is missing"
        )
    if Kind.FEATURE in kinds and not (isinstance(dictionary, dict) and _is_name(dictionary.get("name"))):
        raise BadStore(f"{path}/manifest.json: there are features and no dictionary is named")
    return kinds


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_name(value: object) -> bool:
    """Whether a unit's name can hold it: "-" stands there for no dictionary."""
    return isinstance(value, str) and value not in ("", "-")


def _check_files(path: Path, files: Mapping[str, Any], *, verify: bool) -> None:
    for name, entry in files.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or not isinstance(entry, dict):
            raise BadStore(f"{path}/manifest.json: 'files' has an entry that cannot be used: {name!r}")
        file = path / inside
        if not file.is_file():
            raise BadStore(f"{file}: the file is missing; copy the store again, or harvest again")
        size = file.stat().st_size
        if size != entry.get("bytes"):
            raise BadStore(
                f"{file}: {size} bytes, and the manifest says {entry.get('bytes')}: damaged or cut short;"
                " copy the store again, or harvest again"
            )
        if verify and _sha256(file) != entry.get("sha256"):
            raise BadStore(f"{file}: the checksum is not the manifest's: damaged; copy the store again")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _vocabulary(path: Path) -> tuple[str, ...]:
    file = path / "vocab.json"
    try:
        words = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadStore(f"{file}: cannot be read as JSON ({error})") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadStore(f"{file}: not a list of strings")
    return tuple(words)


def _table(path: Path, name: str, columns: tuple[str, ...], rows: int | None) -> dict[str, Array]:
    file = path / name
    try:
        table = pq.read_table(file, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise BadStore(f"{file}: cannot be read ({str(error).splitlines()[0]})") from None
    missing = [column for column in columns if column not in table.column_names]
    if missing or (rows is not None and table.num_rows != rows):
        what = f"no column {missing[0]!r}" if missing else f"{table.num_rows} rows, and the manifest says {rows} units"
        raise BadStore(f"{file}: {what}")
    return {column: table.column(column).to_numpy() for column in columns}


def _arrays(path: Path, manifest: Mapping[str, Any], kinds: Mapping[Kind, Mapping[str, int]]) -> dict[str, Array]:
    window = manifest["window"]
    arrays = {name: _array(path, name, *form) for name, form in _shared(window).items()}
    n_random = len(arrays["random/context"])
    for kind, size in kinds.items():
        for name, (dtype, shape) in _of_kind(size["units"], size["records"], window, n_random).items():
            arrays[f"{kind}/{name}"] = _array(path, f"{kind}/{name}", dtype, shape)
        for name, (dtype, shape) in _optional(size["units"]).items():
            if f"{kind}/{name}.npy" in manifest["files"]:
                arrays[f"{kind}/{name}"] = _array(path, f"{kind}/{name}", dtype, shape)
    return arrays


def _shared(window: int) -> dict[str, tuple[str, _Shape]]:
    return {
        "contexts/tokens": ("<i4", (None, window)),
        "contexts/length": ("<u2", (None,)),
        "contexts/document": ("<i4", (None,)),
        "contexts/position": ("<i8", (None,)),
        "random/context": ("<i4", (None,)),
        "random/focus": ("<u2", (None,)),
    }


def _of_kind(units: int, records: int, window: int, n_random: int) -> dict[str, tuple[str, _Shape]]:
    return {
        "offsets": ("<i8", (units + 1,)),
        "context": ("<i4", (records,)),
        "focus": ("<u2", (records,)),
        "stratum": ("|u1", (records,)),
        "activations": ("<f4", (records, window)),
        "random": ("<f4", (units, n_random, window)),
        "histogram": ("<i8", (units, None)),
        "interval_edges": ("<f4", (units, _INTERVALS + 1)),
        "interval_tokens": ("<i8", (units, _INTERVALS)),
        "top_tokens": ("<i4", (units, None)),
    }


def _optional(units: int) -> dict[str, tuple[str, _Shape]]:
    return {
        f"logit_{end}_{what}": (dtype, (units, None))
        for end in ("top", "bottom")
        for what, dtype in (("tokens", "<i4"), ("values", "<f4"))
    }


def _array(path: Path, name: str, dtype: str, shape: _Shape) -> Array:
    file = path / f"{name}.npy"
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadStore(f"{file}: cannot be read as an array ({str(error).splitlines()[0]})") from None
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if array.dtype != np.dtype(dtype) or not fits:
        wanted = f"{np.dtype(dtype)} {_spelled(shape)}"
        raise BadStore(f"{file}: {array.dtype} {_spelled(array.shape)}, and {wanted} is expected; harvest again")
    # A plain view: slicing an np.memmap makes another np.memmap each time, which costs more than the slice.
    return np.asarray(array)


def _spelled(shape: _Shape) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _check_indices(path: Path, arrays: Mapping[str, Array], kinds: Mapping[Kind, Any], *, n_documents: int) -> None:
    n_contexts = len(arrays["contexts/tokens"])
    for name in ("length", "document", "position"):
        if len(arrays[f"contexts/{name}"]) != n_contexts:
            raise BadStore(f"{path}/contexts/{name}.npy: not as many rows as contexts/tokens.npy")
    _within(path, arrays, "contexts/document", n_documents)
    _within(path, arrays, "contexts/length", arrays["contexts/tokens"].shape[1] + 1)
    for group in ("random", *kinds):
        if len(arrays[f"{group}/focus"]) != len(arrays[f"{group}/context"]):
            raise BadStore(f"{path}/{group}/focus.npy: not as many rows as {group}/context.npy")
        _within(path, arrays, f"{group}/context", n_contexts)
        pairs = zip(_chunks(arrays[f"{group}/focus"]), _chunks(arrays[f"{group}/context"]), strict=True)
        if any((focus >= arrays["contexts/length"][context]).any() for focus, context in pairs):
            raise BadStore(f"{path}/{group}/focus.npy: a focus lies outside its context; harvest again")
    for kind in kinds:
        offsets = arrays[f"{kind}/offsets"]
        if offsets[0] != 0 or offsets[-1] != len(arrays[f"{kind}/context"]) or (np.diff(offsets) < 0).any():
            raise BadStore(f"{path}/{kind}/offsets.npy: not ascending from 0 to the number of records; harvest again")
        known = np.array([stratum for stratum in Stratum if stratum is not Stratum.RANDOM])
        if not all(np.isin(chunk, known).all() for chunk in _chunks(arrays[f"{kind}/stratum"])):
            raise BadStore(f"{path}/{kind}/stratum.npy: an unknown stratum; harvest again, or update autointerp")


def _chunks(array: Array, size: int = 1 << 18) -> Iterator[Array]:
    """The rows of a large array, so many at a time: what is computed of it all at once would not be small."""
    return (array[start : start + size] for start in range(0, len(array), size))


def _within(path: Path, arrays: Mapping[str, Array], name: str, stop: int) -> None:
    values = arrays[name]
    if len(values) and not (values.min() >= 0 and values.max() < stop):
        raise BadStore(f"{path}/{name}.npy: an index lies outside 0 .. {stop - 1}; harvest again")
