"""`sae dictionary`: what can be done with a trained dictionary's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sae.cli.output import print_json, print_text

app = typer.Typer(no_args_is_help=True, help="Copy and convert dictionaries.")


@app.callback()
def group() -> None:
    """Copy and convert dictionaries."""


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a dictionary, of this project or of SAELens.")],
    out: Annotated[Path, typer.Option(help="New folder to write.")],
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"], typer.Option(help="Precision of the copy's weights.")
    ] = "float16",
    as_json: Annotated[bool, typer.Option("--json", help="Print the copy's manifest as JSON.")] = False,
) -> None:
    """Copy a dictionary in another precision, in the layout of SAELens, with manifest and checksums.

    Example: sae dictionary export dictionary-A --out dictionary-A-half --dtype float16
    """
    from sae.dictionaries import export_dictionary

    manifest = export_dictionary(folder, out, dtype=dtype)
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    if as_json:
        print_json(manifest)
    else:
        print_text(f"{out}: {manifest['d_sae']} latents in {dtype}, {size / 1e6:.1f} MB, {manifest['fingerprint']}")
