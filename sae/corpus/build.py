"""Building a corpus: sources -> clean documents -> splits -> tokenizer -> blocks. One pass after another, each streaming."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.corpus import clean
from sae.corpus.download import Package, Unavailable, fetch
from sae.corpus.extract import EXTRACTORS, Unreadable
from sae.corpus.manifest import SPLITS, new_folder, write_manifest, write_text
from sae.corpus.pack import SplitWriter
from sae.corpus.recipe import Recipe, Source
from sae.corpus.spool import Spool
from sae.corpus.tokenizer import EOT, display_vocabulary, train_tokenizer
from sae.errors import BadInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_DOCUMENT_CHARS = 64
ENCODE_BATCH = 256
VALIDATION_SHARE = 0.01
HELDOUT_SHARE = 0.08

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done so far, in all)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a build may be told apart from its recipe. `tokenizer_bytes`: UTF-8 bytes of train text the BPE learns from."""

    seed: int = 0
    block_tokens: int = 128
    vocab_size: int = 4096
    tokenizer_bytes: int = 60_000_000
    allow_missing: bool = False


@dataclass(slots=True)
class _Kept:
    """The documents that stay, in the order in which they were accepted; numbers are those of the spool."""

    ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Counts:
    """What was left out, and why."""

    exact_documents: int = 0
    paragraphs: int = 0
    paragraph_characters: int = 0
    too_short: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)


def build_corpus(recipe: Recipe, out: Path, cache: Path, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Build a corpus folder and return its manifest.

    The same recipe, package versions, files and seed give the same bytes. Raises BadInput if `out` exists, a package cannot
    be had (unless `allow_missing`), or the text is too little for the vocabulary or one block.
    """
    with new_folder(out) as folder:
        packages, missing = _fetch_all(recipe, cache, settings.allow_missing, progress)
        kept, counts = _Kept(), _Counts()
        with Spool(folder / "texts.part") as texts:
            seen_documents: set[bytes] = set()
            seen_paragraphs: set[bytes] = set()
            for index, source in enumerate(recipe.sources):
                progress("extract", index, len(recipe.sources))
                if source.name in packages:
                    with Spool(folder / "raw.part") as raw:
                        names = _extract(source, packages[source.name], raw, counts)
                        _accept(source, index, raw, names, texts, kept, counts, seen_documents, seen_paragraphs, settings.seed)
            progress("extract", len(recipe.sources), len(recipe.sources))
            if not kept.ids:
                raise BadInput("no text was found in the sources: every document is empty, unreadable or too short")
            tokenizer = _train(texts, kept, settings, progress)
            splits, tokens = _write_splits(folder, recipe, texts, kept, tokenizer, settings, progress)
            sizes = [texts.size(i) for i in range(len(texts))]
        write_text(folder / "tokenizer.json", tokenizer.to_str())
        write_text(folder / "vocab.json", _json_lines(display_vocabulary(tokenizer)))
        manifest = {
            "name": out.name,
            "recipe": recipe.name,
            "seed": settings.seed,
            "block_tokens": settings.block_tokens,
            "tokenizer": _tokenizer_entry(folder, settings.vocab_size),
            "sources": _source_rows(recipe, packages, kept, sizes, tokens),
            "missing": [{"name": name, "reason": reason} for name, reason in missing.items()],
            "splits": splits,
            "duplicates_removed": {
                "documents": counts.exact_documents,
                "paragraphs": counts.paragraphs,
                "paragraph_characters": counts.paragraph_characters,
            },
            "left_out": {"shorter_than_64_characters": counts.too_short, "unreadable_files": dict(counts.unreadable)},
        }
        write_manifest(folder, manifest)
    return manifest


def _json_lines(items: list[str]) -> str:
    import json

    return json.dumps(items, ensure_ascii=False, indent=0)


def _tokenizer_entry(folder: Path, vocab_size: int) -> dict[str, Any]:
    digest = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    return {"file": "tokenizer.json", "sha256": digest, "vocab_size": vocab_size, "eot": EOT}


def _fetch_all(
    recipe: Recipe, cache: Path, allow_missing: bool, progress: Progress
) -> tuple[dict[str, Package], dict[str, str]]:
    packages: dict[str, Package] = {}
    missing: dict[str, str] = {}
    for index, source in enumerate(recipe.sources):
        progress("fetch", index, len(recipe.sources))
        try:
            packages[source.name] = fetch(source, cache)
        except Unavailable as error:
            missing[source.name] = f"{source.registry} package {source.package}: {error}"
    progress("fetch", len(recipe.sources), len(recipe.sources))
    if missing and not allow_missing:
        listed = "; ".join(f"{name} ({reason})" for name, reason in missing.items())
        raise BadInput(f"these sources cannot be had: {listed}. Give --allow-missing to build without them")
    return packages, missing


def _files(source: Source, root: Path) -> list[Path]:
    skipped = {path for glob in source.skip for path in root.glob(glob)}
    taken = {path for glob in source.take for path in root.glob(glob)} - skipped
    return sorted(path for path in taken if path.is_file() and not path.is_symlink())


def _extract(source: Source, package: Package, raw: Spool, counts: _Counts) -> list[str]:
    """Put the clean, masked documents of a source in `raw`; their names."""
    names: list[str] = []
    extract = EXTRACTORS[source.extractor]
    files = _files(source, package.root)
    if not files:
        raise BadInput(f"source {source.name!r}: no file of {source.package or source.registry} fits {', '.join(source.take)}")
    for path in files:
        relative = path.relative_to(package.root).as_posix()
        try:
            for piece in extract(path, source.options):
                base = f"{relative}#{piece.part}" if piece.part else relative
                parts = clean.cut(_clean(piece.text, source))
                for number, part in enumerate(parts, 1):
                    raw.append(part)
                    names.append(base if len(parts) == 1 else f"{base}#{number}")
        except Unreadable:
            counts.unreadable[source.name] += 1
    return names


def _clean(text: str, source: Source) -> str:
    # Masking comes before cutting, or a cut could go through an address.
    masked = clean.mask_emails(clean.tidy(text))
    return clean.mask_local_addresses(masked) if source.extractor == "email" else masked


def _keyed_order(seed: int, purpose: str, ids: Iterable[str]) -> list[int]:
    """The indices of `ids` in an order that depends on the seed, the purpose and each id alone: a shuffle without a state."""
    keys = [hashlib.blake2b(f"{seed}/{purpose}/{id_}".encode(), digest_size=16).digest() for id_ in ids]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _accept(
    source: Source,
    index: int,
    raw: Spool,
    names: list[str],
    texts: Spool,
    kept: _Kept,
    counts: _Counts,
    seen_documents: set[bytes],
    seen_paragraphs: set[bytes],
    seed: int,
) -> None:
    """Move a seeded sample of `raw`, up to the source's cap and without duplicates, to `texts`."""
    held = 0
    for number in _keyed_order(seed, "sample", names):
        if source.max_bytes and held >= source.max_bytes:
            break
        text = raw.read(number)
        if _is_repeated(text, seen_documents):
            counts.exact_documents += 1
            continue
        text, dropped, characters = clean.drop_seen_paragraphs(text, seen_paragraphs)
        counts.paragraphs += dropped
        counts.paragraph_characters += characters
        text = text.strip("\n")
        if len(text) < MIN_DOCUMENT_CHARS:
            counts.too_short += 1
            continue
        if dropped and _is_repeated(text, seen_documents):
            counts.exact_documents += 1
            continue
        held += texts.size(texts.append(text))
        kept.ids.append(hashlib.sha256(text.encode()).hexdigest()[:16])
        kept.names.append(names[number])
        kept.sources.append(index)
        kept.splits.append(split_of(clean.document_hash(text)))


def _is_repeated(text: str, seen: set[bytes]) -> bool:
    digest = clean.document_hash(text)
    repeated = digest in seen
    seen.add(digest)
    return repeated


def split_of(digest: bytes) -> str:
    """The split of a document by the hash of its normal form: 1% validation, 8% heldout, the rest train."""
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < VALIDATION_SHARE:
        return "validation"
    return "heldout" if share < VALIDATION_SHARE + HELDOUT_SHARE else "train"


def _train(texts: Spool, kept: _Kept, settings: Settings, progress: Progress) -> Tokenizer:
    train = [i for i, split in enumerate(kept.splits) if split == "train"]
    order = [train[i] for i in _keyed_order(settings.seed, "tokenizer", (kept.ids[i] for i in train))]
    chosen: list[int] = []
    total = 0
    for number in order:
        if total >= settings.tokenizer_bytes:
            break
        chosen.append(number)
        total += texts.size(number)

    def sample() -> Iterator[str]:
        for done, text in enumerate(texts.read_many(chosen)):
            progress("tokenizer", done + 1, len(chosen))
            yield text

    return train_tokenizer(sample(), settings.vocab_size)


def _write_splits(
    folder: Path,
    recipe: Recipe,
    texts: Spool,
    kept: _Kept,
    tokenizer: Tokenizer,
    settings: Settings,
    progress: Progress,
) -> tuple[dict[str, dict[str, int]], list[int]]:
    """Encode and write every split in its seeded order. Returns the splits' sizes and each document's tokens."""
    sizes: dict[str, dict[str, int]] = {}
    tokens = [0] * len(kept.ids)
    done = 0
    for split in SPLITS:
        members = [i for i, s in enumerate(kept.splits) if s == split]
        order = [members[i] for i in _keyed_order(settings.seed, "order", (kept.ids[i] for i in members))]
        writer = SplitWriter(folder, split, settings.block_tokens, EOT)
        for first in range(0, len(order), ENCODE_BATCH):
            batch = order[first : first + ENCODE_BATCH]
            for number, encoding in zip(batch, tokenizer.encode_batch_fast([*texts.read_many(batch)]), strict=True):
                source = recipe.sources[kept.sources[number]]
                ids = np.array(encoding.ids, dtype=np.uint16)
                tokens[number] = len(ids) + 1
                writer.add(
                    ids, document=kept.ids[number], domain=source.domain, source=source.name, name=kept.names[number]
                )
            done += len(batch)
            progress("encode", done, len(kept.ids))
        sizes[split] = writer.close()
    if sizes["train"]["blocks"] == 0:
        raise BadInput(f"the text is too little for one training block of {settings.block_tokens} tokens; add text")
    return sizes, tokens


def _source_rows(
    recipe: Recipe, packages: dict[str, Package], kept: _Kept, sizes: list[int], tokens: list[int]
) -> list[dict[str, Any]]:
    rows = []
    sources = np.array(kept.sources)
    for index, source in enumerate(recipe.sources):
        if source.name not in packages:
            continue
        mine = np.flatnonzero(sources == index)
        rows.append(
            {
                "name": source.name,
                "domain": source.domain,
                "version": packages[source.name].version,
                "licence": source.licence,
                "redistributable": source.redistributable,
                "registry": source.registry,
                "package": source.package,
                "bytes": sum(sizes[i] for i in mine),
                "documents": len(mine),
                "tokens": sum(tokens[i] for i in mine),
            }
        )
    return rows
