"""`sae corpus`: build a corpus, take an excerpt that may be shipped, show what is in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sae.corpus.build import Progress

app = typer.Typer(no_args_is_help=True, help="Text to token blocks, with documents, domains and sources kept.")

_STAGES = {
    "fetch": "getting packages",
    "extract": "extracting sources",
    "tokenizer": "reading for the BPE",
    "encode": "encoding documents",
}


def _with_progress(work: Any) -> Any:
    """Run `work(progress)` under bars on standard error, one for each stage."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES[stage], total=total)
            bars.update(tasks[stage], completed=done)

        return work(progress)


@app.command()
def build(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Your own .txt, .jsonl or .parquet files, or folders of them. None: build from the recipe."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")] = Path("corpus"),
    recipe: Annotated[Path | None, typer.Option(help="A recipe (TOML). Default: the one that comes with the program.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for downloads. Default: autointerp-corpus in your cache folder.")] = None,
    field: Annotated[str, typer.Option(help="Name of the text field or column of your .jsonl and .parquet files.")] = "text",
    domain: Annotated[str, typer.Option(help="Domain to record for your own files.")] = "own",
    licence: Annotated[str, typer.Option(help="Licence to record for your own files.")] = "not stated",
    seed: Annotated[int, typer.Option(help="Seed of the sampling and of the order of documents.")] = 0,
    block_tokens: Annotated[int, typer.Option(min=2, help="Tokens in a block.")] = 128,
    vocab_size: Annotated[int, typer.Option(min=258, max=65536, help="Entries of the byte-level BPE.")] = 4096,
    allow_missing: Annotated[bool, typer.Option(help="Build without the packages that cannot be had.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Build a corpus folder from the recipe's packages, or from your own files.

    Example: sae corpus build --out corpus
    Example: sae corpus build notes/ reviews.jsonl --field body --out my-corpus
    """
    from sae.corpus.build import Settings, build_corpus
    from sae.corpus.download import default_cache
    from sae.corpus.recipe import DEFAULT_RECIPE, load_recipe, recipe_for_files
    from sae.errors import BadInput

    if paths and recipe:
        raise BadInput("give either your own files or --recipe, not both (a recipe can name files: registry = \"files\")")
    plan = recipe_for_files(paths, text_field=field, domain=domain, licence=licence) if paths else load_recipe(recipe or DEFAULT_RECIPE)
    settings = Settings(seed=seed, block_tokens=block_tokens, vocab_size=vocab_size, allow_missing=allow_missing)
    manifest = _with_progress(lambda progress: build_corpus(plan, out, cache or default_cache(), settings, progress))
    _print(manifest, as_json)


def _print(manifest: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(manifest, ensure_ascii=False))
        return
    typer.echo(json.dumps(manifest["splits"], indent=1))


if __name__ == "__main__":
    app()
