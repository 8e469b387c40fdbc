"""`sae metrics`: how good a dictionary is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from sae.cli.lineage import AnyTokenizer, check_same_tokenizer, check_trained_on
from sae.cli.output import print_json, print_text
from sae.cli.progress import Lines

_DEFAULT_TOKENS = 2_000_000
_DEFAULT_LOSS_TOKENS = 262_144


def metrics(
    dictionary: Annotated[Path, typer.Argument(help="Folder of a dictionary, of this project or of SAELens.")],
    subject: Annotated[str, typer.Option(help="Folder of a subject, or a Hugging Face name.")],
    corpus: Annotated[Path, typer.Option(help="Folder of a corpus.")],
    split: Annotated[str, typer.Option(help="Split of the corpus to measure on.")] = "validation",
    tokens: Annotated[
        int | None,
        typer.Option(min=1, help=f"Tokens for sparsity and reconstruction. Default: {_DEFAULT_TOKENS:,}, or all."),
    ] = None,
    loss_tokens: Annotated[
        int | None, typer.Option(min=1, help=f"Tokens for the losses. Default: {_DEFAULT_LOSS_TOKENS:,}, or all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the blocks drawn and of the bootstrap.")] = 0,
    any_subject: Annotated[
        bool, typer.Option("--any-subject", help="Measure on another subject than the one it was trained on.")
    ] = False,
    any_tokenizer: AnyTokenizer = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json and the figure. Default: DICTIONARY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Measure a dictionary: L0, MSE, explained variance, loss recovered, densities, dead latents.

    Writes metrics.json, density.svg and density.png.

    Example: sae metrics dictionary-A --subject subject-A --corpus corpus
    """
    from sae.corpus import Corpus
    from sae.dictionaries import load_dictionary, read_manifest
    from sae.metrics import density_figure, measure, save_figure
    from sae.metrics.document import metrics_document, write_metrics
    from sae.subjects import load_subject
    from sae.subjects.processor import keep_freed_memory

    keep_freed_memory()
    loaded, manifest = load_dictionary(dictionary), read_manifest(dictionary)
    model, text = load_subject(subject), Corpus.open(corpus)
    if not any_tokenizer:
        check_same_tokenizer(model, text)
    if not any_subject:
        check_trained_on(manifest, model, dictionary)
    blocks = text.split(split).tokens
    with _bar() as report:
        measured = measure(
            model,
            loaded,
            blocks,
            n_tokens=tokens or min(_DEFAULT_TOKENS, blocks.size),
            n_loss_tokens=loss_tokens or min(_DEFAULT_LOSS_TOKENS, blocks.size),
            seed=seed,
            report=report,
        )
    folder, name = out or dictionary, (manifest or {}).get("name", dictionary.resolve().name)
    document = metrics_document(measured, loaded, name=name, subject=model, corpus=text, split=split, seed=seed)
    write_metrics(folder, document)
    figures = save_figure(density_figure(measured.fired, measured.sparsity, name), folder / "density")
    if as_json:
        print_json(document)
    else:
        print_text(_table(document))
        print_text(f"written: {folder / 'metrics.json'}, {', '.join(map(str, figures))}")


def _table(document: dict[str, Any]) -> str:
    sparsity, near, loss = document["sparsity"], document["reconstruction"], document["loss_recovered"]
    tokens = f"{sparsity['tokens']:,}"
    rare = sparsity["ultra_low_density"]
    variance = near["explained_variance"]
    rows = [
        ("L0", f"{sparsity['l0']:.2f}", f"mean over {tokens} tokens"),
        ("MSE", f"{near['mse']:.5g}", "mean over tokens and dimensions"),
        (
            "explained variance",
            "-" if variance is None else f"{variance:.4f}",
            "1 - squared error / squares centred per dimension",
        ),
        (
            "loss recovered",
            "-" if loss["value"] is None else f"{loss['value']:.4f}",
            loss["reason"] or f"95% interval {loss['ci_low']:.4f} to {loss['ci_high']:.4f}, {loss['blocks']:,} blocks",
        ),
        ("subject loss", f"{loss['subject_loss']:.4f}", "nats per token"),
        ("with reconstruction", f"{loss['reconstruction_loss']:.4f}", ""),
        ("with zeros", f"{loss['ablated_loss']:.4f}", ""),
        ("dead", f"{sparsity['dead']:,}", f"silent on {tokens} tokens, so rarer than 1 in {tokens} or never"),
        (
            "ultra-low density",
            "-" if rare is None else f"{rare:,}",
            f"{tokens} tokens cannot show a density below 1e-6" if rare is None else "below 1e-6, not dead",
        ),
        ("density above 1%", f"{sparsity['high_density']:,}", ""),
        ("alive", f"{sparsity['alive']:,}", "neither dead nor of ultra-low density"),
    ]
    return "\n".join(f"{name:<20} {value:>10}  {note}".rstrip() for name, value, note in rows)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Blocks done and time left on standard error: a bar on a terminal, else lines."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        lines = Lines({"measure": "measuring"}, "blocks")
        yield lambda done, total: lines("measure", done, total)
        return
    columns = (TextColumn("blocks"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("blocks", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
