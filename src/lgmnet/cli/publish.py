"""Command ``lgmnet publish``."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Force, ModelName


@command("Train", example="[bold]lgmnet publish outputs/omniglot -o outputs/small[/]")
def publish(
    model: ModelName,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the copy.")],
    force: Force = False,
) -> CommandResult:
    """Copy a model with 16-bit weights, the form in which models ship with the package."""
    from lgmnet.model.folder import check_model_folder
    from lgmnet.model.model import load_model, save_model
    from lgmnet.model.registry import MODEL_FILES

    check_model_folder(output, overwrite=force)
    half = dataclasses.replace(load_model(model), half_precision=True)
    save_model(half, output, overwrite=force)
    size = sum((output / name).stat().st_size for name in MODEL_FILES)
    return CommandResult(
        {"model": str(output), "bytes": size}, [f"{escape(str(output))}: {size / 1e6:.1f} MB"]
    )
