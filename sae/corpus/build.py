"""Building a corpus: sources -> documents -> tokenizer -> blocks. One pass after another, each streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sae.corpus.collect import Documents, Progress, collect, keyed_order
from sae.corpus.download import Package, Unavailable, fetch
from sae.corpus.manifest import SPLITS, new_folder, write_manifest
from sae.corpus.pack import SplitWriter
from sae.corpus.recipe import Recipe
from sae.corpus.spool import Spool
from sae.corpus.tokenizer import EOT, TextTokenizer, display_vocabulary, tokenizer_fingerprint, train_tokenizer
from sae.errors import BadInput
from sae.files import checksum, write_atomically

ENCODE_BATCH = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """What a build may be told apart from its recipe. `tokenizer_bytes`: UTF-8 bytes of train text for the BPE."""

    seed: int = 0
    block_tokens: int = 128
    vocab_size: int = 4096
    tokenizer_bytes: int = 60_000_000
    allow_missing: bool = False


def build_corpus(
    recipe: Recipe,
    out: Path,
    cache: Path,
    settings: Settings,
    progress: Progress,
    tokenizer: TextTokenizer | None = None,
) -> dict[str, Any]:
    """Build a corpus folder and return its manifest.

    tokenizer: that of the subject which is to read the corpus; None: a byte-level BPE is trained on the text.

    The same recipe, package versions, files, seed and tokenizer give the same bytes. Raises BadInput if `out` exists, a
    package cannot be had (unless `allow_missing`), the text is too little for the vocabulary or one block, or the
    tokenizer is of a kind whose entries cannot be shown.
    """
    with new_folder(out) as folder:
        packages, missing = _fetch_all(recipe, cache, settings.allow_missing, progress)
        with Spool(folder / "texts.part") as texts:
            documents = Documents(texts)
            sieve, unreadable = collect(recipe, packages, documents, folder, settings.seed, progress)
            if not documents.ids:
                raise BadInput("no text was found in the sources: every document is empty, unreadable or too short")
            tokenizer = tokenizer or _train(documents, settings, progress)
            display = json.dumps(display_vocabulary(tokenizer.tokenizer), ensure_ascii=False, indent=0)
            splits, tokens = _write_splits(folder, recipe, documents, tokenizer, settings, progress)
            rows = _source_rows(recipe, packages, documents, tokens)
        write_atomically(folder / "tokenizer.json", tokenizer.tokenizer.to_str().encode())
        write_atomically(folder / "vocab.json", display.encode())
        manifest = {
            "name": out.name,
            "recipe": recipe.name,
            "seed": settings.seed,
            "block_tokens": settings.block_tokens,
            "tokenizer": _tokenizer_entry(folder, tokenizer),
            "sources": rows,
            "missing": [{"name": name, "reason": reason} for name, reason in missing.items()],
            "splits": splits,
            "duplicates_removed": {
                "documents": sieve.documents,
                "paragraphs": sieve.paragraphs,
                "paragraph_characters": sieve.paragraph_characters,
            },
            "left_out": {"shorter_than_64_characters": sieve.too_short, "unreadable_files": dict(unreadable)},
        }
        return write_manifest(folder, manifest)


def _tokenizer_entry(folder: Path, tokenizer: TextTokenizer) -> dict[str, Any]:
    return {
        "file": "tokenizer.json",
        "sha256": checksum(folder / "tokenizer.json"),
        "fingerprint": tokenizer_fingerprint(tokenizer.tokenizer),
        "vocab_size": tokenizer.vocab_size,
        "eot": tokenizer.eot,
    }


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


def _train(documents: Documents, settings: Settings, progress: Progress) -> TextTokenizer:
    """Train the BPE on a seeded sample of the train split."""
    train = [i for i, split in enumerate(documents.splits) if split == "train"]
    chosen: list[int] = []
    total = 0
    for place in keyed_order(settings.seed, "tokenizer", (documents.ids[i] for i in train)):
        if total >= settings.tokenizer_bytes:
            break
        chosen.append(train[place])
        total += documents.texts.size(train[place])

    def sample() -> Iterator[str]:
        for done, number in enumerate(chosen, 1):
            progress("tokenizer", done, len(chosen))
            yield documents.texts.read(number)

    return TextTokenizer(train_tokenizer(sample(), settings.vocab_size), EOT)


def _write_splits(
    folder: Path, recipe: Recipe, documents: Documents, tokenizer: TextTokenizer, settings: Settings, progress: Progress
) -> tuple[dict[str, dict[str, int]], list[int]]:
    """Encode and write every split in its seeded order. Returns the splits' sizes and each document's tokens."""
    sizes: dict[str, dict[str, int]] = {}
    tokens = [0] * len(documents.ids)
    done = 0
    for split in SPLITS:
        members = [i for i, s in enumerate(documents.splits) if s == split]
        order = [members[i] for i in keyed_order(settings.seed, "order", (documents.ids[i] for i in members))]
        writer = SplitWriter(folder, split, settings.block_tokens, tokenizer.eot, tokenizer.vocab_size)
        for first in range(0, len(order), ENCODE_BATCH):
            batch = order[first : first + ENCODE_BATCH]
            encoded = tokenizer.encode([documents.texts.read(i) for i in batch])
            for number, ids in zip(batch, encoded, strict=True):
                source = recipe.sources[documents.sources[number]]
                tokens[number] = len(ids) + 1  # and the end-of-text token
                row = {"document": documents.ids[number], "name": documents.names[number]}
                writer.add(np.array(ids, writer.dtype), domain=source.domain, source=source.name, **row)
            done += len(batch)
            progress("encode", done, len(documents.ids))
        sizes[split] = writer.close()
    if sizes["train"]["blocks"] == 0:
        raise BadInput(f"the text is too little for one training block of {settings.block_tokens} tokens; add text")
    return sizes, tokens


def _source_rows(
    recipe: Recipe, packages: dict[str, Package], documents: Documents, tokens: list[int]
) -> list[dict[str, Any]]:
    rows = []
    sources = np.array(documents.sources)
    for index, source in enumerate(recipe.sources):
        if source.name not in packages:
            continue
        mine = np.flatnonzero(sources == index).tolist()
        rows.append(
            {
                "name": source.name,
                "domain": source.domain,
                "version": packages[source.name].version,
                "licence": source.licence,
                "redistributable": source.redistributable,
                "registry": source.registry,
                "package": "" if source.registry == "files" else source.package,  # a path is of this machine only
                "bytes": sum(documents.texts.size(i) for i in mine),
                "documents": len(mine),
                "tokens": sum(tokens[i] for i in mine),
            }
        )
    return rows
