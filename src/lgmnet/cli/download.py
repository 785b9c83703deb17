"""Command ``lgmnet download``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Force
from lgmnet.errors import unknown_name_error


@command("Train", example="[bold]lgmnet download omniglot[/]")
def download(
    data: Annotated[str, typer.Argument(help="Name of the data set: omniglot.")],
    folder: Annotated[
        Path | None,
        typer.Option("--to", help="Data folder. Default: LGMNET_DATA, else shared/data."),
    ] = None,
    force: Force = False,
) -> CommandResult:
    """Download a data set; no other command downloads data."""
    from lgmnet.data.datasets import omniglot
    from lgmnet.data.images.archives import data_folders

    if data != "omniglot":
        raise unknown_name_error("data to download", data, ["omniglot"])
    file = omniglot.download(folder or data_folders()[0], overwrite=force)
    return CommandResult({"data": data, "file": str(file)}, [escape(str(file))])
