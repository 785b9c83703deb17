"""Command ``lgmnet example``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Force


@command("Make", example="[bold]lgmnet example drawings .[/]")
def example(
    kind: Annotated[
        Literal["drawings", "photos"],
        typer.Argument(metavar="KIND", help="drawings or photos."),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.")],
    force: Force = False,
) -> CommandResult:
    """Write a small folder of example images; nothing is downloaded.

    It has three classes (in DIR/symbols or DIR/photos, and as the table DIR/labels.csv), other
    images of them (DIR/test), a fourth class to add (DIR/more), and images without a class (DIR/new
    and DIR/scans). Existing files are replaced only with --force.
    """
    from lgmnet.data.examples import write_example

    files = write_example(kind, folder, overwrite=force)
    top = folder / ("symbols" if kind == "drawings" else "photos")
    text = (
        f"{escape(str(folder))}: {len(files)} files. Go on with: lgmnet forge {escape(str(top))} "
        f"-o example.safetensors"
    )
    return CommandResult({"folder": str(folder), "files": [str(path) for path in files]}, [text])
