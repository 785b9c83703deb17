"""Command ``lgmnet studio``."""

from __future__ import annotations

from typing import Annotated

import typer

from lgmnet.cli import server_options
from lgmnet.cli.console import command
from lgmnet.cli.server import run_server


@command("Serve", example="[bold]lgmnet studio[/]")
def studio(
    host: server_options.Host = "127.0.0.1",
    port: server_options.Port = 7860,
    store: server_options.StoreFolder = None,
    database: server_options.DatabaseUrl = None,
    files: server_options.FilesUrl = None,
    models: server_options.ModelNames = None,
    host_names: server_options.HostNames = None,
    without_token: server_options.WithoutToken = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, but open no browser.")
    ] = False,
    verbose: server_options.Verbose = False,
    as_json: bool = False,
) -> None:
    """Make classifiers in the browser: draw, drop or photograph a few images of each class.

    All data stays on this machine. Ctrl-C stops the studio; the classifiers remain for the next
    start.
    """
    run_server(
        host,
        port,
        store=store,
        database=database,
        files=files,
        models=models,
        host_names=host_names,
        without_token=without_token,
        verbose=verbose,
        as_json=as_json,
        page=True,
        open_browser=not no_browser,
    )
