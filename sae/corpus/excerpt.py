"""A small corpus out of a large one, of text that may be passed on."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from sae.corpus.manifest import new_folder, write_manifest
from sae.corpus.pack import SplitWriter
from sae.corpus.reader import Corpus
from sae.errors import BadInput

MAX_DOCUMENT_TOKENS = 4_000
"""Longer documents are cut here, so that an excerpt of a million tokens holds some hundreds of documents, not fifty."""


def write_excerpt(corpus: Corpus, split: str, tokens: int, out: Path, *, redistributable: bool) -> dict[str, Any]:
    """Write the first documents of a split, about `tokens` tokens, as a corpus folder with one split named "heldout".

    Documents keep their order and ids; those of more than 4,000 tokens are cut. `redistributable`: only sources whose
    licence allows passing the text on. The manifest keeps these sources with their licences, and says what was cut.
    Returns the manifest.
    Raises BadInput if `tokens` is less than a block, or the split has fewer than that.
    """
    allowed = {s["name"]: s for s in corpus.manifest["sources"] if s["redistributable"] or not redistributable}
    part = corpus.split(split)
    stream = part.tokens.reshape(-1)
    counts: dict[str, Counter[str]] = {name: Counter() for name in allowed}
    cut = 0
    with new_folder(out) as folder:
        writer = SplitWriter(folder, "heldout", corpus.block_tokens, corpus.eot, corpus.vocab_size)
        for row in range(part.n_documents):
            if writer.tokens >= tokens:
                break
            document, domain, source, name = part.documents.iloc[row][["document", "domain", "source", "name"]]
            if source not in allowed:
                continue
            start = int(part.doc_start[row])
            end = int(part.doc_start[row + 1]) if row + 1 < part.n_documents else len(stream)
            ids = stream[start:end]
            ids = ids[:-1] if ids[-1] == corpus.eot else ids
            cut += len(ids) > MAX_DOCUMENT_TOKENS
            ids = ids[:MAX_DOCUMENT_TOKENS]
            writer.add(ids, document=document, domain=domain, source=source, name=name)
            text = corpus.tokenizer.decode(ids.tolist(), skip_special_tokens=False)
            counts[source].update(bytes=len(text.encode()), documents=1, tokens=len(ids) + 1)
        reached = writer.tokens
        sizes = writer.close()
        if reached < tokens or sizes["blocks"] == 0:
            which = "redistributable " if redistributable else ""
            raise BadInput(
                f"split {split!r} has only {reached} {which}tokens of the {tokens} asked; ask for fewer with --tokens"
            )
        for file in (corpus.manifest["tokenizer"]["file"], "vocab.json"):
            shutil.copyfile(corpus.path / file, folder / file)
        manifest = {
            **{key: corpus.manifest[key] for key in ("recipe", "seed", "block_tokens", "tokenizer")},
            "name": out.name,
            "sources": [{**allowed[name], **count} for name, count in counts.items() if count],
            "splits": {"heldout": sizes},
            "duplicates_removed": corpus.manifest["duplicates_removed"],
            "excerpt": {
                "of": corpus.name,
                "split": split,
                "split_sha256": corpus.manifest["files"][f"{split}.tokens.npy"]["sha256"],
                "redistributable_only": redistributable,
                "max_document_tokens": MAX_DOCUMENT_TOKENS,
                "documents_cut": cut,
                "note": "whole documents in the order of the split; those above max_document_tokens are cut there",
            },
        }
        return write_manifest(folder, manifest)
