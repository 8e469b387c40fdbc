"""Documents packed into blocks, written as a stream."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sae.files import FileEntry, file_entry

TokenIds = NDArray[np.unsignedinteger[Any]]
"""Token ids of a corpus: `token_dtype` of its vocabulary says in how many bytes."""


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """What token ids below `vocab_size` are stored in: uint16 where that holds them, else uint32; little-endian."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def _header(file: IO[bytes], dtype: np.dtype[Any], blocks: int, block_tokens: int) -> None:
    layout = {"descr": dtype.str, "fortran_order": False, "shape": (blocks, block_tokens)}
    np.lib.format.write_array_header_1_0(file, layout)


class SplitWriter:
    """Writes `{split}.tokens.npy`, `{split}.doc_start.npy` and `{split}.documents.parquet` of a corpus folder.

    Each document is followed by the end-of-text token. Tokens after the last whole block are left out, and with them
    documents that begin there; a document that runs past the end is cut.
    """

    def __init__(self, folder: Path, split: str, block_tokens: int, eot: int, vocab_size: int) -> None:
        self.dtype = token_dtype(vocab_size)
        self._folder, self._split, self._block = folder, split, block_tokens
        self._eot = np.array([eot], self.dtype)
        self._file = (folder / f"{split}.tokens.npy").open("w+b")
        _header(self._file, self.dtype, 0, block_tokens)
        self._data_start = self._file.tell()
        self._starts = array("q")
        self._rows: dict[str, list[str]] = {"document": [], "domain": [], "source": [], "name": []}
        self.tokens = 0

    def add(self, tokens: TokenIds, *, document: str, domain: str, source: str, name: str) -> None:
        """Append one document: its token ids (without end-of-text) and its row of the table."""
        self._starts.append(self.tokens)
        for column, value in zip(self._rows.values(), (document, domain, source, name), strict=True):
            column.append(value)
        self._file.write(tokens.astype(self.dtype, copy=False).tobytes())
        self._file.write(self._eot.tobytes())
        self.tokens += len(tokens) + 1

    def close(self) -> dict[str, int]:
        """Finish the files; {"blocks", "tokens", "documents"} of the split."""
        blocks = self.tokens // self._block
        tokens = blocks * self._block
        self._file.truncate(self._data_start + self.dtype.itemsize * tokens)
        self._file.seek(0)
        _header(self._file, self.dtype, blocks, self._block)
        if self._file.tell() != self._data_start:
            raise AssertionError("numpy's header changed its length with the number of rows")
        _sync(self._file)
        starts = np.frombuffer(self._starts, dtype=np.int64) if self._starts else np.empty(0, np.int64)
        documents = int(np.searchsorted(starts, tokens))
        with (self._folder / f"{self._split}.doc_start.npy").open("wb") as file:
            np.save(file, starts[:documents])
            _sync(file, keep=True)
        self._write_table(documents)
        return {"blocks": blocks, "tokens": tokens, "documents": documents}

    def _write_table(self, documents: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({key: pa.array(column[:documents], pa.string()) for key, column in self._rows.items()})
        with (self._folder / f"{self._split}.documents.parquet").open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            _sync(file, keep=True)


def _sync(file: IO[bytes], *, keep: bool = False) -> None:
    file.flush()
    os.fsync(file.fileno())
    if not keep:
        file.close()


def file_table(folder: Path) -> dict[str, FileEntry]:
    """{"name": {"sha256", "bytes"}} of every file of a folder but its manifest."""
    return {path.name: file_entry(path) for path in sorted(folder.iterdir()) if path.name != "manifest.json"}
