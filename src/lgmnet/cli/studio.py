"""Command ``lgmnet studio``."""

from typing import Annotated

import typer

from lgmnet.cli import server
from lgmnet.cli.console import command
from lgmnet.cli.options import Engine


@command("Serve", example="[bold]lgmnet studio[/]")
def studio(
    host: server.Host = "127.0.0.1",
    port: server.Port = 7860,
    store: server.StoreFolder = None,
    database: server.DatabaseUrl = None,
    files: server.FilesUrl = None,
    models: server.ModelNames = None,
    host_names: server.HostNames = None,
    without_token: server.WithoutToken = False,
    engine: Engine = "auto",
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, but open no browser.")
    ] = False,
    verbose: server.Verbose = False,
    as_json: bool = False,
) -> None:
    """Make classifiers in the browser: draw, drop or photograph a few images of each class.

    All data stays on this machine. Ctrl-C stops the studio; the classifiers remain for the next
    start.
    """
    server.run_server(
        host,
        port,
        store=store,
        database=database,
        files=files,
        models=models,
        host_names=host_names,
        without_token=without_token,
        engine=engine,
        verbose=verbose,
        as_json=as_json,
        page=True,
        open_browser=not no_browser,
    )
