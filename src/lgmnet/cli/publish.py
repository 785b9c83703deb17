"""Command ``lgmnet publish``."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import ModelName


@command(
    "Train", example="[bold]lgmnet publish outputs/omniglot -o src/lgmnet/pretrained/omniglot[/]"
)
def publish(
    model: ModelName,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the copy.")],
) -> CommandResult:
    """Copy a model with 16-bit weights, the form in which models ship with the package."""
    from lgmnet.model.model import load_model, save_model

    save_model(dataclasses.replace(load_model(model), half_precision=True), output)
    size = sum(path.stat().st_size for path in output.iterdir())
    return CommandResult(
        {"model": str(output), "bytes": size}, [f"{escape(str(output))}: {size / 1e6:.1f} MB"]
    )
