"""Reading a corpus folder: memory-mapped, checked, without torch."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from sae.corpus.manifest import FORMAT, VERSION
from sae.corpus.pack import TokenIds, token_dtype
from sae.corpus.tokenizer import TextTokenizer, tokenizer_fingerprint
from sae.errors import BadInput
from sae.files import checksum

if TYPE_CHECKING:
    import pandas as pd
    from tokenizers import Tokenizer

_DAMAGED = "the corpus is damaged; build it again"


class Split:
    """One split of a corpus.

    tokens     [n_blocks, block_tokens], memory-mapped, read-only; uint16, or uint32 for a vocabulary beyond 65,536
    documents  a row per document (document, domain, source, name), in the order of the stream; read when asked for
    doc_start  int64 [n_docs], ascending: offset of each document's first token in the flattened stream
    """

    def __init__(self, folder: Path, name: str, sizes: dict[str, int], corpus: Corpus, sha256: str) -> None:
        self._folder, self.name = folder, name
        self.fingerprint = sha256[:16]
        """First 16 hex digits of the sha256 of the tokens' file: two splits with the same one hold the same tokens."""
        self.tokens = _tokens(
            folder / f"{name}.tokens.npy", (sizes["blocks"], corpus.block_tokens), token_dtype(corpus.vocab_size)
        )
        self.n_blocks: int = sizes["blocks"]
        self.n_documents: int = sizes["documents"]

    @cached_property
    def doc_start(self) -> NDArray[np.int64]:
        starts: NDArray[np.int64] = _load(self._folder / f"{self.name}.doc_start.npy")
        if starts.shape != (self.n_documents,) or starts.dtype != np.int64:
            raise BadInput(f"{self._folder}/{self.name}.doc_start.npy: not int64 [{self.n_documents}]; {_DAMAGED}")
        return starts

    @cached_property
    def documents(self) -> pd.DataFrame:
        import pandas as pd
        import pyarrow as pa

        path = self._folder / f"{self.name}.documents.parquet"
        try:
            table = pd.read_parquet(path)
        except (OSError, pa.ArrowException) as error:
            raise BadInput(f"{path}: {str(error).splitlines()[0]}; {_DAMAGED}") from error
        if len(table) != self.n_documents:
            raise BadInput(f"{path}: {len(table)} rows instead of {self.n_documents}; {_DAMAGED}")
        return table

    @overload
    def document_index(self, offset: int) -> int: ...
    @overload
    def document_index(self, offset: NDArray[np.integer[Any]]) -> NDArray[np.int64]: ...
    def document_index(self, offset: int | NDArray[np.integer[Any]]) -> int | NDArray[np.int64]:
        """Rows of `documents` for offsets in the flattened stream, each in [0, n_blocks * block_tokens).

        The end-of-text token belongs to the document that it ends. Raises IndexError for an offset outside the split.
        """
        offsets = np.asarray(offset)
        if offsets.size and (offsets.min() < 0 or offsets.max() >= self.tokens.size):
            raise IndexError(f"offset outside the split {self.name!r}, which has {self.tokens.size} tokens")
        rows = np.searchsorted(self.doc_start, offsets, side="right") - 1
        return int(rows) if np.ndim(offset) == 0 else rows.astype(np.int64, copy=False)


class Corpus:
    """A corpus folder, opened with `Corpus.open`."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.name: str = manifest["name"]
        self.block_tokens: int = manifest["block_tokens"]
        self.vocab_size: int = manifest["tokenizer"]["vocab_size"]
        self.eot: int = manifest["tokenizer"]["eot"]
        self._splits: dict[str, Split] = {}

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> Corpus:
        """Open a corpus. The sizes of all files are compared with the manifest; `verify` also compares their sha256.

        Raises BadInput for a folder that is no corpus, of another version, or with files missing, truncated or changed.
        """
        path = Path(path)
        manifest = _manifest(path)
        for name, entry in manifest["files"].items():
            _check_file(path / name, entry, verify=verify)
        return cls(path, manifest)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits there are."""
        return tuple(self.manifest["splits"])

    def split(self, name: str) -> Split:
        """The split of a name. Raises BadInput if there is none."""
        if name not in self.manifest["splits"]:
            raise BadInput(f"corpus {self.path} has no split {name!r}; it has: {', '.join(self.splits)}")
        if name not in self._splits:
            sizes = self.manifest["splits"][name]
            digest = self.manifest["files"][f"{name}.tokens.npy"]["sha256"]
            self._splits[name] = Split(self.path, name, sizes, self, digest)
        return self._splits[name]

    @cached_property
    def vocab(self) -> list[str]:
        """Display text of each token id."""
        return cast("list[str]", json.loads((self.path / "vocab.json").read_text(encoding="utf-8")))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The corpus's tokenizer. Text never encodes to its end-of-text entry."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.path / self.manifest["tokenizer"]["file"]))
        return TextTokenizer(tokenizer, self.eot).tokenizer

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """Which tokenizer made the tokens: see `sae.corpus.tokenizer.tokenizer_fingerprint`."""
        recorded: str | None = self.manifest["tokenizer"].get("fingerprint")
        return recorded or tokenizer_fingerprint(self.tokenizer)  # manifests did not always say it


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(
            f"{path}: no corpus here (manifest.json: {error.strerror}); make one with `sae corpus build`"
        ) from error
    except ValueError as error:
        raise BadInput(f"{path}/manifest.json is not JSON; {_DAMAGED}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{path}: not a corpus folder (its manifest is of another format)")
    if manifest.get("version") != VERSION:
        raise BadInput(
            f"{path}: corpus version {manifest.get('version')!r}, but this program reads version {VERSION}; "
            "build it again or update the program"
        )
    needed = {"name", "block_tokens", "tokenizer", "sources", "splits", "files"}
    if missing := sorted(needed - manifest.keys()):
        raise BadInput(f"{path}/manifest.json lacks {', '.join(missing)}; {_DAMAGED}")
    return manifest


def _check_file(path: Path, entry: dict[str, Any], *, verify: bool) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; {_DAMAGED}") from error
    if size != entry["bytes"]:
        raise BadInput(f"{path}: {size} bytes instead of {entry['bytes']} (truncated or changed); {_DAMAGED}")
    if verify and checksum(path) != entry["sha256"]:
        raise BadInput(f"{path}: its checksum is not the manifest's; {_DAMAGED}")


def _load(path: Path, mmap_mode: Any = None) -> Any:
    try:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}; {_DAMAGED}") from error


def _tokens(path: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> TokenIds:
    # An empty file part cannot be mapped.
    tokens: TokenIds = _load(path, "r" if shape[0] else None)
    if tokens.shape != shape or tokens.dtype != dtype:
        raise BadInput(f"{path}: {tokens.dtype} {list(tokens.shape)} instead of {dtype} {list(shape)}; {_DAMAGED}")
    return tokens
