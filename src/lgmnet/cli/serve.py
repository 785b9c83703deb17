"""Command ``lgmnet serve``."""

from typing import Annotated

import typer

from lgmnet.cli import server
from lgmnet.cli.console import command
from lgmnet.cli.options import Engine


@command("Serve", example="[bold]lgmnet serve --port 8000 --workers 2[/]")
def serve(
    host: server.Host = "127.0.0.1",
    port: server.Port = 8000,
    store: server.StoreFolder = None,
    database: server.DatabaseUrl = None,
    files: server.FilesUrl = None,
    models: server.ModelNames = None,
    host_names: server.HostNames = None,
    without_token: server.WithoutToken = False,
    engine: Engine = "auto",
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Number of processes; each needs 0.6 GB of memory.")
    ] = 1,
    verbose: server.Verbose = False,
    as_json: bool = False,
) -> None:
    """Serve the HTTP API without the page; /docs describes the API.

    If the environment variable LGMNET_TOKEN is set, every request must carry its value.
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
        page=False,
        workers=workers,
    )
