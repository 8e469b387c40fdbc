"""`sae subject`: train the one-layer transformer, export it, show what a trained one is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sae.cli.output import print_json, print_text

if TYPE_CHECKING:
    from sae.subjects.training import TrainingProgress

app = typer.Typer(no_args_is_help=True, help="The model under study: train one, export it, look at it.")

AsJson = Annotated[bool, typer.Option("--json", help="Print the manifest as one JSON document.")]
SubjectFolder = Annotated[Path, typer.Argument(help="Folder of a trained subject.")]
CorpusFolder = Annotated[Path, typer.Option(help="Folder of `sae corpus build`.")]


@app.command()
def train(
    corpus: CorpusFolder,
    out: Annotated[Path, typer.Option(help="Folder to write, or to go on with where a run in it was stopped.")],
    name: Annotated[str | None, typer.Option(help="Name of the subject. Default: the folder's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of the order of the data.")] = 0,
    tokens: Annotated[int, typer.Option(help="To train on; beyond the train split, epochs repeat.")] = 60_000_000,
    batch: Annotated[int, typer.Option(help="Blocks in a batch.")] = 64,
    lr: Annotated[float, typer.Option(help="Adam's peak learning rate.")] = 3e-3,
    d_model: Annotated[int, typer.Option(help="Width of the residual stream.")] = 128,
    d_mlp: Annotated[int, typer.Option(help="Neurons of the MLP.")] = 512,
    heads: Annotated[int, typer.Option(help="Attention heads; a divisor of d_model.")] = 4,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    dtype: Annotated[str, typer.Option(help="Of matrix products: float32, bfloat16, auto (the faster).")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Train a one-layer ReLU transformer on a corpus. The same command goes on with a run that was stopped.

    Example: sae subject train --corpus corpus --out subject-A --seed 0
    """
    # OpenMP reads this when torch is loaded. Threads that spin while they wait cost most of the speed of a machine
    # whose cores are shared with other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from sae.corpus.reader import Corpus
    from sae.subjects.one_layer import OneLayerConfig
    from sae.subjects.trained import train_subject
    from sae.subjects.training import TrainingSettings

    text = Corpus.open(corpus)
    config = OneLayerConfig(d_model, heads, d_mlp, d_vocab=text.vocab_size, n_ctx=text.block_tokens)
    settings = TrainingSettings(seed, tokens, batch, lr, checkpoint_every=checkpoint_every, dtype=dtype)
    with _bar() as on_step:
        manifest = train_subject(text, config, settings, out, name or out.name, on_step)
    _print(manifest, as_json)


@app.command()
def export(
    folder: SubjectFolder,
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    corpus: CorpusFolder,
    dtype: Annotated[str, typer.Option(help="Of the stored weights: float16 or float32.")] = "float16",
    as_json: AsJson = False,
) -> None:
    """Copy a subject in another precision, with its validation loss measured again on the rounded weights.

    Example: sae subject export subject-A --out subject-A-half --corpus corpus --dtype float16
    """
    from sae.corpus.reader import Corpus
    from sae.subjects.trained import export_subject

    _print(export_subject(folder, out, dtype, Corpus.open(corpus)), as_json)


@app.command()
def show(folder: SubjectFolder, as_json: AsJson = False) -> None:
    """Check the files of a trained subject and say what it is.

    Example: sae subject show subject-A
    """
    from sae.subjects.store import check_files, read_manifest

    manifest = read_manifest(folder)
    check_files(folder, manifest)
    _print(manifest, as_json)


def _print(manifest: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(manifest)
        return
    config, training = manifest["config"], manifest["training"]
    rows = {
        "subject": f"{manifest['name']} ({manifest['dtype']})",
        "model": f"d_model {config['d_model']}, {config['n_heads']} heads, d_mlp {config['d_mlp']}, "
        f"vocabulary {config['d_vocab']}, context {config['n_ctx']}",
        "corpus": f"{manifest['corpus']['name']} ({manifest['corpus']['fingerprint']})",
        "trained on": f"{training['tokens']:,} tokens, {training['epochs']:.2f} epochs, seed {training['seed']}, "
        f"{training['dtype']} products",
        "speed": f"{training['tokens_per_second']:,.0f} tokens/s, {training['seconds']:,.0f} s",
        "validation loss": f"{training['validation_loss']:.4f} nats a token over {training['validation_tokens']:,}",
    }
    for label, value in rows.items():
        print_text(f"{label:16}{value}")


@contextmanager
def _bar() -> Iterator[Callable[[TrainingProgress], None]]:
    """A progress bar on standard error; where that is a file, a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("starting", total=None)

        def on_step(now: TrainingProgress) -> None:
            validation = "" if now.validation_loss is None else f", validation {now.validation_loss:.3f}"
            left = (now.steps - now.step) * now.tokens / now.step / now.tokens_per_second
            text = f"loss {now.loss:.3f}{validation}, {now.tokens_per_second / 1000:.1f}k tokens/s"
            bars.update(task, description=text, completed=now.step, total=now.steps)
            if not console.is_terminal and (now.step % 100 == 0 or now.step == now.steps):
                line = f"step {now.step} of {now.steps}: {text}, {left:.0f} s left"
                console.print(line, highlight=False, soft_wrap=True)

        yield on_step
