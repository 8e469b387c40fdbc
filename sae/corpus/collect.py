"""From packages to clean documents: extraction, masking, sampling up to each source's cap, duplicates, splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sae.corpus import clean
from sae.corpus.download import Package
from sae.corpus.duplicates import Sieve, document_hash
from sae.corpus.extract import EXTRACTORS, Unreadable
from sae.corpus.recipe import Recipe, Source
from sae.corpus.spool import Spool
from sae.errors import BadInput

VALIDATION_SHARE = 0.01
HELDOUT_SHARE = 0.08

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done so far, in all)."""


@dataclass(slots=True)
class Documents:
    """The documents that stay, in the order in which they were accepted. Entry i of each list is of text i."""

    texts: Spool
    ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)

    def add(self, text: str, name: str, source: int) -> None:
        """Accept a document. Its id is the first 16 hex digits of the sha256 of its text."""
        self.texts.append(text)
        self.ids.append(hashlib.sha256(text.encode()).hexdigest()[:16])
        self.names.append(name)
        self.sources.append(source)
        self.splits.append(split_of(document_hash(text)))


def split_of(digest: bytes) -> str:
    """The split of a document by the hash of its normal form: 1% validation, 8% heldout, the rest train."""
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < VALIDATION_SHARE:
        return "validation"
    return "heldout" if share < VALIDATION_SHARE + HELDOUT_SHARE else "train"


def keyed_order(seed: int, purpose: str, ids: Iterable[str]) -> list[int]:
    """The indices of `ids` in an order that the seed, the purpose and the ids alone decide: a shuffle without a state.

    An id's place relative to another does not depend on which other ids there are.
    """
    keys = [hashlib.blake2b(f"{seed}/{purpose}/{id_}".encode(), digest_size=16).digest() for id_ in ids]
    return sorted(range(len(keys)), key=keys.__getitem__)


def collect(
    recipe: Recipe, packages: dict[str, Package], documents: Documents, work: Path, seed: int, progress: Progress
) -> tuple[Sieve, Counter[str]]:
    """Fill `documents` from the packages of a recipe (by source name). `work`: a folder for a temporary file.

    Returns the sieve with its counts and the number of unreadable files of each source. Raises BadInput for a source
    whose globs fit no file.
    """
    files = {s.name: _files(s, packages[s.name].root) for s in recipe.sources if s.name in packages}
    total, done = sum(map(len, files.values())), 0
    sieve, unreadable = Sieve(), Counter[str]()
    for index, source in enumerate(recipe.sources):
        if source.name not in packages:
            continue
        with Spool(work / "raw.part") as raw:
            names: list[str] = []
            for path in files[source.name]:
                progress("extract", done, total)
                done += 1
                try:
                    for name, text in _extract(source, path, packages[source.name].root):
                        raw.append(text)
                        names.append(name)
                except Unreadable:
                    unreadable[source.name] += 1
            _accept(source, index, raw, names, documents, sieve, seed)
    progress("extract", done, total)
    return sieve, unreadable


def _files(source: Source, root: Path) -> list[Path]:
    skipped = {path for glob in source.skip for path in root.glob(glob)}
    taken = {path for glob in source.take for path in root.glob(glob)} - skipped
    files = sorted(path for path in taken if path.is_file() and not path.is_symlink())
    if not files:
        package = source.package or source.registry
        raise BadInput(f"source {source.name!r}: no file of {package} fits {', '.join(source.take)}")
    return files


def _extract(source: Source, path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Names and texts, clean and masked, of a file's documents. Raises Unreadable."""
    for piece in EXTRACTORS[source.extractor](path, source.options):
        name = path.relative_to(root).as_posix() + (f"#{piece.part}" if piece.part else "")
        # Masking comes before cutting, or a cut could go through an address.
        text = clean.mask_emails(clean.tidy(piece.text))
        if source.extractor == "email":
            text = clean.mask_local_addresses(text)
        parts = clean.cut(text)
        for number, part in enumerate(parts, 1):
            yield name if len(parts) == 1 else f"{name}#{number}", part


def _accept(
    source: Source, index: int, raw: Spool, names: list[str], documents: Documents, sieve: Sieve, seed: int
) -> None:
    """Move a seeded sample of `raw`, up to the source's cap and without duplicates, to `documents`."""
    held = 0
    for number in keyed_order(seed, "sample", names):
        if source.max_bytes and held >= source.max_bytes:
            break
        text = sieve.sift(raw.read(number))
        if text is not None:
            documents.add(text, names[number], index)
            held += len(text.encode())
