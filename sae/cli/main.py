"""The `sae` command: from text to a context store. Each command lives in a module of its own."""

from __future__ import annotations

from typing import Any

import typer

from sae.cli import corpus, dictionary, subject
from sae.cli.harvest import harvest
from sae.cli.metrics import metrics
from sae.cli.output import complain
from sae.cli.train import train
from sae.errors import BadInput

app = typer.Typer(
    help="Train a subject and a dictionary, and harvest the contexts in which their units fire.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(corpus.app, name="corpus")
app.add_typer(subject.app, name="subject")
app.add_typer(dictionary.app, name="dictionary")
app.command()(train)
app.command()(metrics)
app.command()(harvest)

# Of unknown commands and options, and of missing arguments: typer names only the class below it.
_UsageError: Any = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run a command. Exit codes: 0 done, 2 bad input (one line), 130 interrupted."""
    try:
        code = app(standalone_mode=False)
    except BadInput as error:
        complain(f"sae: {error}")
        raise SystemExit(2) from None
    except _UsageError as error:
        if message := error.format_message():  # empty where a bare command printed its help
            complain(f"sae: {message} (sae --help shows what there is)")
        raise SystemExit(2) from None
    except OSError as error:  # a full disk, a file where a folder is wanted, a place without permission
        where = f"{error.filename}: " if error.filename else ""
        complain(f"sae: {where}{error.strerror or error}; mend that, or name another place")
        raise SystemExit(2) from None
    except (KeyboardInterrupt, typer.Abort):
        complain("sae: interrupted; the same command goes on where a checkpoint or a download was saved")
        raise SystemExit(130) from None
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
