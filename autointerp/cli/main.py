"""The `autointerp` command: thin. Results go to standard output, progress and complaints to standard error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autointerp.cli import ledger
from autointerp.cli.output import JsonFlag, complain, print_json, print_text
from autointerp.errors import AutointerpError, BadInput

if TYPE_CHECKING:
    from autointerp.jobs import Job

__all__ = ["app", "main"]

app = typer.Typer(
    help="Measure how interpretable the features of a sparse autoencoder are, beside the model's own neurons.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(ledger.app, name="ledger")


@app.callback()
def _root() -> None:
    """Keeps the names of the commands even while there are few of them."""


Llm = Annotated[
    str | None,
    typer.Option(help="Another model: openai:MODEL, anthropic:MODEL, http://HOST/v1:MODEL or local:FILE.gguf."),
]
Price = Annotated[
    str | None, typer.Option(help="With --llm: its price, as INPUT,OUTPUT in USD per million tokens, such as 0.4,1.6.")
]
Units = Annotated[int | None, typer.Option(min=1, help="With --llm: at most so many units of each group.")]


@app.command(epilog="Example: autointerp check job.toml --llm http://127.0.0.1:8000/v1:my-model")
def check(
    job: Annotated[Path, typer.Argument(help="The job file (TOML).", show_default=False)],
    llm: Llm = None,
    price: Price = None,
    json_out: JsonFlag = False,
) -> None:
    """Say what would keep a job's models from being asked: a key, a file or a price that is missing, a server away.

    Needs no store, so it can go before a harvest. Asks nothing: whether a key is good shows with the first call.
    """
    from autointerp.jobs import check_models, check_text

    found = check_models(_loaded(job, llm, None, price), job.parent)
    if json_out:
        print_json(found)
    else:
        print_text(check_text(found))


@app.command(epilog="Example: autointerp plan job.toml --llm openai:gpt-4.1-mini --units 20")
def plan(
    job: Annotated[Path, typer.Argument(help="The job file (TOML).", show_default=False)],
    llm: Llm = None,
    price: Price = None,
    units: Units = None,
    json_out: JsonFlag = False,
) -> None:
    """Print the calls, tokens and cost of a job before anything is spent. Asks nothing, and needs no key.

    What the ledger knows already is not counted as cost; prices are those that came with the program, or the job's own.
    """
    from autointerp.jobs import plan_job, plan_text

    found = plan_job(_loaded(job, llm, units, price), job.parent)
    if json_out:
        print_json(found)
    else:
        print_text(plan_text(found))


@app.command(epilog="Example: autointerp run job.toml --out runs/first --max-cost 5")
def run(
    job: Annotated[Path, typer.Argument(help="The job file (TOML).", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The run's folder. Default: runs/NAME beside the job file.")] = None,
    llm: Llm = None,
    price: Price = None,
    units: Units = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="What this run may spend, in USD: it stops before it would spend more (exit code 4)."),
    ] = None,
    only_unscored: Annotated[
        bool, typer.Option("--only-unscored", help="Go on with a finished run: ask again just for what failed.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Exit with 1 where a unit stayed Unscored.")] = False,
    json_out: JsonFlag = False,
) -> None:
    """Start a job, or go on with one that was interrupted: what the ledger knows is not asked again."""
    from autointerp.jobs import check_models, once_more, run_to_summary
    from autointerp.results import failures, show_text, summarise

    loaded = _loaded(job, llm, units, price)
    if llm is not None:
        check_models(loaded, job.parent)
    folder = out or job.parent / "runs" / loaded.name
    again = once_more(loaded, folder) if only_unscored else loaded
    if again is None:
        complain(f"autointerp: nothing failed in {folder}, so nothing is asked again")
        summary = summarise(folder, places=20)
    else:
        summary = run_to_summary(again, job.parent, folder, max_cost)
    if json_out:
        print_json(summarise(folder))
    else:
        print_text(show_text(summary, rows=20))
        print_text(f"\nreport   {folder / 'report.html'}\nfigures  {folder / 'figures'}")
    for line in failures(folder):
        complain(f"autointerp: {line}")
    unscored = sum(sum(one["unscored"].values()) for kind in summary["summary"].values() for one in kind.values())
    if strict and unscored:
        raise SystemExit(1)


@app.command(epilog="Example: autointerp show results/demo --json")
def show(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    rows: Annotated[int, typer.Option(min=1, help="Places of the ranking to print.")] = 20,
    json_out: JsonFlag = False,
) -> None:
    """Print a run's scores, the comparison of features with neurons, the controls, and the ranking."""
    from autointerp.results import show_text, summarise

    summary = summarise(folder, places=None if json_out else rows)
    if json_out:
        print_json(summary)
    else:
        print_text(show_text(summary, rows=rows))


@app.command(epilog="Example: autointerp report results/demo")
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    json_out: JsonFlag = False,
) -> None:
    """Draw a run's figures and report again from its tables, and print their paths."""
    from autointerp.results import write_figures, write_report

    paths = [str(path) for path in (*write_figures(folder), write_report(folder))]
    if json_out:
        print_json({"files": paths})
    else:
        print_text("\n".join(paths))


def _loaded(job: Path, llm: str | None, units: int | None, price: str | None) -> Job:
    from autointerp.jobs import load_job, on_model

    loaded = load_job(job)
    if llm is not None:
        return on_model(loaded, llm, units, price)
    if units is not None:
        raise BadInput("--units goes with --llm; the job file says which units otherwise")
    if price is not None:
        raise BadInput("--price goes with --llm; the job file says it of its models otherwise ([model.price])")
    return loaded


# Of unknown commands and options, and of missing arguments: typer names only the class below it.
_UsageError: Any = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 Unscored under --strict, 2 bad input, 3 refused, 4 cap, 130 interrupted."""
    try:
        code = app(standalone_mode=False)
    except AutointerpError as error:
        kind = "" if isinstance(error, BadInput) else f"{type(error).__name__}: "
        complain(f"autointerp: {kind}{error}")
        raise SystemExit(error.exit_code) from None
    except _UsageError as error:
        if message := error.format_message():  # empty where a bare command printed its help
            complain(f"autointerp: {message} (autointerp --help shows what there is)")
        raise SystemExit(2) from None
    except OSError as error:  # a full disk, a file without permission, a reader of our output that went away
        where = f"{error.filename}: " if error.filename else ""
        complain(f"autointerp: {where}{error.strerror or error}; mend that and start again: nothing is lost")
        raise SystemExit(2) from None
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:  # typer may also have made this code of a Ctrl-C itself, without a word
        complain("autointerp: interrupted; the same command goes on from what the ledger holds")
    raise SystemExit(code if isinstance(code, int) else 0)
