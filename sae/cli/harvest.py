"""`sae harvest`: the contexts of every feature and every neuron of a hook, as a context store."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sae.cli.lineage import AnyTokenizer, check_same_tokenizer, check_trained_on
from sae.cli.output import print_json, print_text
from sae.cli.progress import Lines

if TYPE_CHECKING:
    from sae.dictionaries import Dictionary

_STAGES = {"scan": "scanning all units", "records": "reading the contexts"}


def harvest(
    subject: Annotated[
        str, typer.Option(help="Folder of a subject, or a Hugging Face name; ?shuffle=SEED: its control.")
    ],
    corpus: Annotated[Path, typer.Option(help="Folder of a corpus.")],
    out: Annotated[Path, typer.Option(help="Folder of the store; an interrupted harvest of it is continued.")],
    dictionary: Annotated[
        Path | None, typer.Option(help="Folder of the dictionary. Without one, only neurons are harvested.")
    ] = None,
    hook: Annotated[str | None, typer.Option(help="Hook of the neurons. Default: the dictionary's.")] = None,
    split: Annotated[str, typer.Option(help="Split of the corpus.")] = "heldout",
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens to read, spread over the split. Default: all.")
    ] = None,
    window: Annotated[int, typer.Option(min=2, help="Tokens of a context.")] = 64,
    top: Annotated[int, typer.Option(min=1, help="Top contexts of a unit.")] = 40,
    per_interval: Annotated[int, typer.Option(min=1, help="Contexts from each of the 13 slices of [0, max].")] = 8,
    random: Annotated[int, typer.Option(min=0, help="Random contexts, the same for all units.")] = 100,
    out_of_context: Annotated[int, typer.Option(min=0, help="Contexts of a unit's top tokens elsewhere.")] = 40,
    precision: Annotated[
        Literal["float64", "float32"],
        typer.Option(help="Of the computation. With float64 the result does not depend on processor or batch."),
    ] = "float64",
    seed: Annotated[int, typer.Option(min=0, help="Seed of every sample.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Blocks in a forward pass: a matter of speed and memory.")] = 32,
    control: Annotated[
        str | None, typer.Option(help="Say that this subject is a control, and which. A shuffled one is known as such.")
    ] = None,
    any_subject: Annotated[
        bool, typer.Option("--any-subject", help="Take a dictionary that was trained on other weights.")
    ] = False,
    any_tokenizer: AnyTokenizer = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Collect contexts of all features of a dictionary and all neurons of its hook.

    Of every unit: top contexts, a sample of each of 13 equal slices of [0, max] with the number of tokens it stands
    for, random contexts, its top tokens in other contexts, its histogram and its logit weights. The same command goes
    on after an interruption, to the same result.

    Example: sae harvest --subject subject-A --dictionary dictionary-A --corpus corpus --out store-A
    Example: sae harvest --subject "subject-A?shuffle=1" --dictionary control --corpus corpus --out store-control
    """
    from sae.corpus import Corpus
    from sae.dictionaries import load_dictionary, read_manifest
    from sae.harvest import HarvestSettings, Source
    from sae.harvest import harvest as run
    from sae.subjects import load_subject
    from sae.subjects.processor import keep_freed_memory

    keep_freed_memory()
    settings = HarvestSettings(
        window=window,
        top=top,
        per_interval=per_interval,
        random=random,
        out_of_context=out_of_context,
        precision=precision,
        seed=seed,
        tokens=tokens,
        batch=batch,
    )
    text, model = Corpus.open(corpus), load_subject(subject)
    if not any_tokenizer:
        check_same_tokenizer(model, text)
    loaded, name = None, None
    if dictionary is not None:
        loaded, manifest = load_dictionary(dictionary), read_manifest(dictionary)
        name = (manifest or {}).get("name", dictionary.resolve().name)
        if not any_subject:
            check_trained_on(manifest, model, dictionary)
    source = Source(
        subject=model,
        hook=_hook(hook, loaded),
        dictionary=loaded,
        dictionary_name=name,
        corpus=text,
        split=split,
        control=control or _control(subject),
    )
    with _progress() as progress, _stop_on_interrupt() as stop:
        result = run(source, settings, out, progress=progress, stop=stop)
    _print(out, result, as_json)


def _hook(asked: str | None, dictionary: Dictionary | None) -> str:
    from sae.errors import BadInput

    if asked is not None:
        return asked
    if dictionary is None:
        raise BadInput("without a dictionary, say which neurons are meant: --hook, for instance blocks.0.mlp.hook_post")
    return dictionary.hook_name


def _control(subject: str) -> str | None:
    from sae.harvest import SHUFFLED_CONTROL

    return SHUFFLED_CONTROL if "?shuffle=" in subject else None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Tokens done, tokens/s and time left, on standard error: bars on a terminal, else lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(_STAGES, "tokens")
        return

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f} tokens/s")

    columns = (
        TextColumn("{task.description:21}"),
        BarColumn(20),
        TextColumn("{task.completed:,} of {task.total:,} tokens"),
        Rate(""),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                # What was done before an interruption says nothing about the speed.
                tasks[stage] = bars.add_task(_STAGES[stage], total=total, completed=done)
            bars.update(tasks[stage], completed=done)

        yield progress


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed (or the process was asked to end). Pressed twice, it interrupts at once."""
    asked = False

    def handle(signal_number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(out: Path, manifest: dict[str, Any], as_json: bool) -> None:
    result = {"store": str(out), **{key: value for key, value in manifest.items() if key != "files"}}
    if as_json:
        print_json(result)
        return
    for kind, size in result["kinds"].items():
        print_text(f"{kind}: {size['units']:,} units, {size['records']:,} records")
    print_text(f"{result['corpus']['tokens']:,} tokens of {result['corpus']['name']}/{result['corpus']['split']}")
    print_text(f"written: {out}")
