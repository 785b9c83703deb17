"""Command ``lgmnet mcp``."""

from pathlib import Path
from typing import Annotated

import typer

from lgmnet.cli.console import command


@command("Serve", example="[bold]lgmnet mcp ~/pictures ~/classifiers[/]")
def mcp(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER",
            help="Folders whose files may be read and written; all others are refused.",
        ),
    ],
    as_json: bool = False,
) -> None:
    """Serve the tools forge, predict, edit, report and suggest to an assistant on this machine.

    The assistant's program starts this command and talks to it over stdin and stdout, by the Model
    Context Protocol. Nothing listens on the network. See docs/how-to/mcp.md.
    """
    from lgmnet.cli.mcp_tools import make_server

    make_server(folders).run("stdio")
