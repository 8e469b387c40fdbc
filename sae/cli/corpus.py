"""`sae corpus`: build a corpus, take an excerpt that may be shipped, show what is in one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sae.cli.output import inert, print_json, print_text

if TYPE_CHECKING:
    from sae.corpus.collect import Progress
    from sae.corpus.tokenizer import TextTokenizer

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="Text to token blocks, with documents, domains and sources kept.")

_STAGES = {
    "fetch": "getting packages",
    "extract": "extracting files",
    "tokenizer": "reading for the BPE",
    "encode": "encoding documents",
}


def _with_progress(work: Callable[[Progress], T]) -> T:
    """Run `work(progress)` with a bar for each stage on standard error; a line for every tenth where that is a file."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {stage: bars.add_task(label, start=False, total=None) for stage, label in _STAGES.items()}
        said: set[tuple[str, int]] = set()
        begun = time.monotonic()

        def progress(stage: str, done: int, total: int) -> None:
            bars.start_task(tasks[stage])
            bars.update(tasks[stage], completed=done, total=total)
            tenth = (stage, 10 * done // max(total, 1))
            if not console.is_terminal and tenth not in said:
                said.add(tenth)
                console.print(
                    f"{time.monotonic() - begun:7.0f} s  {_STAGES[stage]}: {done} of {total}", highlight=False
                )

        return work(progress)


@app.callback()
def _room() -> None:
    """Text to token blocks, with documents, domains and sources kept."""


@app.command()
def build(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Your own .txt, .jsonl or .parquet files, or folders of them. None: build from the recipe."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")] = Path("corpus"),
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe (TOML). Default: the one that comes with the program.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for downloads. Default: autointerp-corpus in your cache folder.")
    ] = None,
    field: Annotated[
        str, typer.Option(help="Name of the text field or column of your .jsonl and .parquet files.")
    ] = "text",
    domain: Annotated[str, typer.Option(help="Domain to record for your own files.")] = "own",
    licence: Annotated[str, typer.Option(help="Licence to record for your own files.")] = "not stated",
    seed: Annotated[int, typer.Option(help="Seed of the sampling and of the order of documents.")] = 0,
    block_tokens: Annotated[int, typer.Option(min=2, help="Tokens in a block.")] = 128,
    vocab_size: Annotated[
        int | None, typer.Option(min=258, max=65536, help="Entries of the byte-level BPE. Default: 4096.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Take the tokenizer of the subject that is to read the corpus: its folder, .gguf file or Hugging Face "
            "name. Default: a byte-level BPE, trained on the text."
        ),
    ] = None,
    allow_missing: Annotated[bool, typer.Option(help="Build without the packages that cannot be had.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Build a corpus folder from the recipe's packages, or from your own files.

    Example: sae corpus build --out corpus
    Example: sae corpus build notes/ reviews.jsonl --field body --out my-corpus
    Example: sae corpus build notes/ --tokenizer EleutherAI/pythia-70m --out for-pythia
    """
    from sae.corpus.build import Settings, build_corpus
    from sae.corpus.download import default_cache
    from sae.corpus.recipe import DEFAULT_RECIPE, load_recipe, recipe_for_files
    from sae.errors import BadInput

    if paths and recipe:
        raise BadInput('give either your own files or --recipe, not both (a recipe can name files: registry = "files")')
    if tokenizer and vocab_size:
        raise BadInput(
            "--vocab-size is for a tokenizer that is trained on the text; --tokenizer brings its own entries"
        )
    plan = (
        recipe_for_files(paths, text_field=field, domain=domain, licence=licence)
        if paths
        else load_recipe(recipe or DEFAULT_RECIPE)
    )
    settings = Settings(seed=seed, block_tokens=block_tokens, allow_missing=allow_missing)
    if vocab_size:
        settings = replace(settings, vocab_size=vocab_size)
    given = _tokenizer(tokenizer) if tokenizer else None
    manifest = _with_progress(
        lambda progress: build_corpus(plan, out, cache or default_cache(), settings, progress, given)
    )
    _print(manifest, as_json)


def _tokenizer(subject: str) -> TextTokenizer:
    from sae.subjects import load_tokenizer  # with torch, which a corpus does without

    return load_tokenizer(subject)


@app.command()
def excerpt(
    corpus: Annotated[Path, typer.Argument(help="A corpus folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    split: Annotated[str, typer.Option(help="Split to take documents from.")] = "heldout",
    tokens: Annotated[int, typer.Option(min=1, help="Tokens wanted.")] = 1_000_000,
    redistributable: Annotated[
        bool, typer.Option(help="Only sources whose licence allows passing the text on.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Write a smaller corpus folder with the same tokenizer, small enough to ship, with its sources' licences.

    Example: sae corpus excerpt corpus --split heldout --tokens 1000000 --redistributable --out excerpt
    """
    from sae.corpus.excerpt import write_excerpt
    from sae.corpus.reader import Corpus

    _print(write_excerpt(Corpus.open(corpus), split, tokens, out, redistributable=redistributable), as_json)


@app.command()
def show(
    corpus: Annotated[Path, typer.Argument(help="A corpus folder.")],
    verify: Annotated[bool, typer.Option(help="Also compare every file's checksum.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show the sources of a corpus with their domains, tokens and licences.

    Example: sae corpus show corpus
    """
    from sae.corpus.reader import Corpus

    _print(Corpus.open(corpus, verify=verify).manifest, as_json)


def _print(manifest: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(manifest)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    total = sum(source["tokens"] for source in manifest["sources"])
    title = Text(inert(f"corpus {manifest['name']}: {total:,} tokens"))
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in ("domain", "source"):
        table.add_column(column, no_wrap=True)
    for column in ("documents", "tokens", "share", "bytes/token"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("licence (* text that may be passed on)", overflow="fold")
    for s in sorted(manifest["sources"], key=lambda s: (s["domain"], -s["tokens"])):
        numbers = (f"{s['documents']:,}", f"{s['tokens']:,}", f"{s['tokens'] / max(total, 1):.1%}", _ratio(s))
        words = (s["domain"], s["name"], s["licence"] + " *" * s["redistributable"])
        domain, name, licence = (Text(inert(word)) for word in words)  # no markup, no control characters
        table.add_row(domain, name, *numbers, licence)
    console.print(table)
    for name, split in manifest["splits"].items():
        print_text(
            f"{name}: {split['blocks']:,} blocks of {manifest['block_tokens']}, {split['tokens']:,} tokens, "
            f"{split['documents']:,} documents"
        )
    removed = manifest["duplicates_removed"]
    print_text(f"left out as repeated: {removed['documents']:,} documents, {removed['paragraphs']:,} paragraphs")
    for name, files in manifest.get("left_out", {}).get("unreadable_files", {}).items():
        print_text(f"left out as unreadable: {files:,} files of {name}")
    for missing in manifest.get("missing", []):
        print_text(f"missing: {missing['name']} ({missing['reason']})")


def _ratio(source: dict[str, Any]) -> str:
    return f"{source['bytes'] / source['tokens']:.2f}" if source["tokens"] else "-"
