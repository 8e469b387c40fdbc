"""The `autointerp` command: thin. Results go to standard output, progress and complaints to standard error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from autointerp.cli import ledger
from autointerp.cli.output import JsonFlag, print_json
from autointerp.errors import AutointerpError, BadInput

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


@app.command(epilog="Example: autointerp run job.toml --out runs/first")
def run(
    job: Annotated[Path, typer.Argument(help="The job file (TOML).", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The run's folder. Default: runs/NAME beside the job file.")] = None,
    llm: Annotated[
        str | None,
        typer.Option(help="Another model: openai:MODEL, anthropic:MODEL, http://HOST/v1:MODEL or local:FILE.gguf."),
    ] = None,
    units: Annotated[int | None, typer.Option(min=1, help="With --llm: at most so many units of each group.")] = None,
    only_unscored: Annotated[
        bool, typer.Option("--only-unscored", help="Go on with a finished run: ask again just for what failed.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Exit with 1 where a unit stayed Unscored.")] = False,
    json_out: JsonFlag = False,
) -> None:
    """Start a job, or go on with one that was interrupted: what the ledger knows is not asked again."""
    from autointerp.jobs import load_job, on_model, once_more, run_job
    from autointerp.results import failures, show_text, summarise

    loaded = load_job(job)
    if llm is not None:
        loaded = on_model(loaded, llm, units)
    elif units is not None:
        raise BadInput("--units goes with --llm; the job file says which units otherwise")
    folder = out or job.parent / "runs" / loaded.name
    again = once_more(loaded, folder) if only_unscored else loaded
    if again is None:
        sys.stderr.write(f"autointerp: nothing failed in {folder}, so nothing is asked again\n")
    else:
        run_job(again, job.parent, folder)
    summary = summarise(folder, places=None if json_out else 20)
    if json_out:
        print_json(summary)
    else:
        sys.stdout.write(show_text(summary, rows=20))
        sys.stdout.write(f"\nreport   {folder / 'report.html'}\nfigures  {folder / 'figures'}\n")
    for line in failures(folder):
        sys.stderr.write(f"autointerp: {line}\n")
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
        sys.stdout.write(show_text(summary, rows=rows))


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
        sys.stdout.write("\n".join(paths) + "\n")


# Of unknown commands and options, and of missing arguments: typer names only the class below it.
_UsageError: Any = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 Unscored under --strict, 2 bad input, 3 refused, 4 cap, 130 interrupted."""
    try:
        code = app(standalone_mode=False)
    except AutointerpError as error:
        kind = "" if isinstance(error, BadInput) else f"{type(error).__name__}: "
        sys.stderr.write(f"autointerp: {kind}{error}\n")
        raise SystemExit(error.exit_code) from None
    except _UsageError as error:
        if message := error.format_message():  # empty where a bare command printed its help
            sys.stderr.write(f"autointerp: {message} (autointerp --help shows what there is)\n")
        raise SystemExit(2) from None
    except OSError as error:  # a full disk, a file without permission, a reader of our output that went away
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"autointerp: {where}{error.strerror or error}; mend that and start again: nothing is lost\n")
        raise SystemExit(2) from None
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:  # typer may also have made this code of a Ctrl-C itself, without a word
        sys.stderr.write("autointerp: interrupted; the same command goes on from what the ledger holds\n")
    raise SystemExit(code if isinstance(code, int) else 0)
