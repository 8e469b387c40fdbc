"""`sae train`: a dictionary on the activations of a subject."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sae.cli.lineage import AnyTokenizer, check_same_tokenizer
from sae.cli.output import print_json, print_text

if TYPE_CHECKING:
    from sae.train import Progress


def train(
    subject: Annotated[str, typer.Option(help="Folder of a subject, or a Hugging Face name.")],
    corpus: Annotated[Path, typer.Option(help="Folder of a corpus.")],
    out: Annotated[Path, typer.Option(help="Folder of the dictionary; an unfinished run in it is continued.")],
    hook: Annotated[str, typer.Option(help="Where the activations are read.")] = "blocks.0.mlp.hook_post",
    split: Annotated[str, typer.Option(help="Split of the corpus to train on.")] = "train",
    architecture: Annotated[str, typer.Option(help="Architecture of the dictionary: relu_l1.")] = "relu_l1",
    expansion: Annotated[int, typer.Option(min=1, help="Latents per dimension of the hook (paper: 1 to 256).")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 10_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Activations in a step.")] = 4096,
    l1: Annotated[float, typer.Option(min=0.0, help="L1 coefficient, on the raw scale of the activations.")] = 0.004,
    mse_convention: Annotated[
        Literal["mean", "sum"], typer.Option(help="Squared error as mean or as sum over the dimensions.")
    ] = "mean",
    lr: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 1e-3,
    lr_warmup: Annotated[float, typer.Option(min=0.0, max=1.0, help="Part of the run with rising rate.")] = 0.01,
    lr_decay: Annotated[float, typer.Option(min=0.0, max=1.0, help="Part at the end with falling rate.")] = 0.2,
    encoder_init: Annotated[
        Literal["kaiming_uniform", "decoder"],
        typer.Option(help="Encoder drawn apart from the decoder (paper), or as its transpose: far fewer latents die."),
    ] = "kaiming_uniform",
    l1_warmup: Annotated[float, typer.Option(min=0.0, max=1.0, help="Part with rising L1 coefficient.")] = 0.0,
    resample_at: Annotated[
        str, typer.Option(help="When dead latents are resampled, as parts of the run; empty for never.")
    ] = "0.025,0.05,0.075,0.1",
    dead_window: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Dead is silent for this part of the run.")
    ] = 0.0125,
    resample_inputs: Annotated[int, typer.Option(min=1, help="Inputs whose loss decides new directions.")] = 409_600,
    tokens_per_context: Annotated[
        int | None, typer.Option(min=1, help="Positions sampled of each block. Default: all.")
    ] = None,
    buffer_inputs: Annotated[int, typer.Option(min=1, help="Activations shuffled together.")] = 500_000,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Precision of the matrix products; auto: bfloat16 where the hardware is fast at it."),
    ] = "auto",
    subject_dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Precision of the subject's forward pass.")
    ] = "float32",
    device: Annotated[str, typer.Option(help="Where the dictionary is trained: cpu, cuda.")] = "cpu",
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order and resampling.")] = 0,
    any_tokenizer: AnyTokenizer = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Train a sparse autoencoder on the activations of a subject.

    The same command goes on from the last checkpoint after an interruption, to the same result.

    Example: sae train --subject subject-A --corpus corpus --out dictionary-A --l1 0.005
    Example: sae train --subject subject-A --corpus corpus --out small --expansion 1 --steps 2000
    """
    import torch

    from sae.corpus import Corpus
    from sae.subjects import load_subject
    from sae.subjects.processor import keep_freed_memory
    from sae.train import TrainConfig, resolve_dtype
    from sae.train import train as run

    place = _device(device)
    config = TrainConfig(
        architecture=architecture,
        expansion=expansion,
        steps=steps,
        batch_size=batch_size,
        l1_coefficient=l1,
        mse_convention=mse_convention,
        learning_rate=lr,
        lr_warmup_fraction=lr_warmup,
        lr_decay_fraction=lr_decay,
        encoder_init=encoder_init,
        l1_warmup_fraction=l1_warmup,
        resample_fractions=_fractions(resample_at),
        dead_window_fraction=dead_window,
        resample_inputs=resample_inputs,
        tokens_per_context=tokens_per_context,
        buffer_inputs=buffer_inputs,
        dtype=resolve_dtype(dtype, torch.device(place)),
        subject_dtype=subject_dtype,
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    keep_freed_memory()
    model, text = load_subject(subject), Corpus.open(corpus)
    if not any_tokenizer:
        check_same_tokenizer(model, text)
    with _reporting(steps) as report:
        manifest = run(
            model,
            text,
            config,
            out,
            hook=hook,
            split=split,
            device=torch.device(place),
            report=report,
        )
    if as_json:
        print_json(manifest)
    else:
        print_text(_summary(out, manifest))


def _fractions(text: str) -> tuple[float, ...]:
    from sae.errors import BadInput

    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise BadInput(f"--resample-at {text!r}: give parts of the run between commas, such as 0.025,0.05") from None


def _device(name: str) -> str:
    import torch

    from sae.errors import BadInput

    if name not in ("cpu", "cuda"):
        raise BadInput(f"--device {name!r} is not known; choose cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: this machine or this build of torch has no CUDA device; use --device cpu")
    return name


def _summary(out: Path, manifest: dict[str, Any]) -> str:
    training = manifest["training"]
    last = training["last_batch"]
    return (
        f"{out}: {manifest['d_sae']} latents on {manifest['hook']}, {training['inputs']:,} activations in "
        f"{training['seconds']:.0f} s; last batch: L0 {last['l0']:.1f}, MSE {last['mse']:.4g} "
        f"({training['mse_convention']}), {last['dead']} dead. Measure it: sae metrics {out} ..."
    )


@contextmanager
def _reporting(steps: int) -> Iterator[Callable[[Progress], None]]:
    """Rate, L0, MSE, dead latents and time left on standard error: a bar on a terminal, else a line at each 5%."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_reporter(steps)
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bars(*columns, console=console, speed_estimate_period=120) as bars:
        task = bars.add_task("starting", total=steps)
        yield lambda progress: bars.update(task, completed=progress.step, description=_numbers(progress))


def _line_reporter(steps: int) -> Callable[[Progress], None]:
    every, said = max(1, steps // 20), 0

    def report(progress: Progress) -> None:
        nonlocal said
        if progress.step - said >= every or progress.step == steps:
            said = progress.step
            left = (steps - progress.step) * progress.seconds / progress.step
            typer.echo(f"step {progress.step}/{steps}  {_numbers(progress)}  {left:,.0f} s left", err=True)

    return report


def _numbers(progress: Progress) -> str:
    return f"{progress.inputs_per_second:,.0f}/s  L0 {progress.l0:.1f}  MSE {progress.mse:.4g}  dead {progress.dead}"
