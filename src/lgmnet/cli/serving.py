"""``studio`` and ``serve``: the page in the browser, and the HTTP service."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import Json, app, err, print_json, say
from lgmnet.errors import ConfigError, extra

TOKEN = "LGMNET_TOKEN"

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")]
StoreFolder = Annotated[
    Path | None,
    typer.Option("--store", help="Folder that classifiers are kept in. Default: in your data."),
]
Database = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Keep the index here instead, such as postgresql+psycopg://user@host/name; several "
        "servers may share it. With --files.",
    ),
]
Files = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Folder or bucket (fsspec URL) of the files, with --database."
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model of yours beside those that ship; repeatable."),
]
Names = Annotated[
    list[str] | None,
    typer.Option("--host-name", help="A name the server is reached by, beside its address."),
]
WithoutToken = Annotated[
    bool,
    typer.Option("--without-token", help=f"Let others in although {TOKEN} is not set."),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="A line for every request.")]


@app.command(epilog="Example: [bold]lgmnet studio[/]")
def studio(
    host: Host = "127.0.0.1",
    port: Port = 7860,
    store: StoreFolder = None,
    database: Database = None,
    files: Files = None,
    models: Models = None,
    names: Names = None,
    without_token: WithoutToken = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address only.")
    ] = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Forge classifiers in the browser: draw, drop or photograph a few images of each class.

    Everything runs and stays on this machine. Ctrl-C ends it; what was made is there next time.
    """
    places = (store, database, files)
    common = (host, port, places, models, names, without_token, verbose, as_json)
    start(*common, page=True, show=not no_browser)


@app.command(epilog="Example: [bold]lgmnet serve --port 8000 --workers 2[/]")
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    store: StoreFolder = None,
    database: Database = None,
    files: Files = None,
    models: Models = None,
    names: Names = None,
    without_token: WithoutToken = False,
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, help="Processes that share the work; each needs 0.6 GB."),
    ] = 1,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Serve the HTTP API alone; /docs describes it.

    With the environment variable LGMNET_TOKEN set, every request must show it.
    """
    places = (store, database, files)
    common = (host, port, places, models, names, without_token, verbose, as_json)
    start(*common, workers=workers, page=False, show=False)


def start(
    host: str,
    port: int,
    places: tuple[Path | None, str | None, str | None],
    models: list[str] | None,
    names: list[str] | None,
    without_token: bool,
    verbose: bool,
    as_json: bool,
    *,
    workers: int = 1,
    page: bool,
    show: bool,
) -> None:
    """Open the store and serve until Ctrl-C."""
    with extra("studio", "the studio and the server"):
        import fastapi_offline  # noqa: F401
        import fsspec  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401

    from lgmnet.studio.app import Settings, create_app
    from lgmnet.studio.middleware import is_loopback
    from lgmnet.studio.process import check_address, listening, run, run_many
    from lgmnet.studio.store import urls_in

    token = os.environ.get(TOKEN) or None
    check_address(host, token, anyone=without_token)
    folder, database, files = places
    if (database is None) != (files is None) or (folder and database):
        raise ConfigError(
            "Give --store FOLDER, or --database URL and --files URL together, or none of them."
        )
    if database is None or files is None:
        where = str(folder or data_folder())
        database, files = urls_in(Path(where))
    else:
        where = files
    # A page that has a name of its own point here must not be able to speak to this machine's
    # server; on other addresses the token keeps it out, and names are for whoever runs it to say.
    known = ["localhost", "127.0.0.1", "::1", host, *(names or [])]
    hosts = known if is_loopback(host) or names else []
    err.print("Reading the models…", highlight=False)
    settings = Settings(
        database, files, tuple(models or ()), token=token, hosts=tuple(hosts), page=page
    )
    application = create_app(settings)
    application.state.service.models()  # What is wrong with one is said before anything begins.
    sock = listening(host, port)
    bound = sock.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{bound}{'' if page else '/docs'}"

    def started() -> None:
        if as_json:
            print_json({"address": address, "store": where, "process": os.getpid()})
        else:
            say(f"{'lgmnet studio' if page else 'lgmnet serve'}: [bold]{escape(address)}[/]")
        sys.stdout.flush()  # Whoever started it waits for this line.
        err.print(
            f"Classifiers are kept in {escape(where)}. Ctrl-C ends.",
            highlight=False,
            soft_wrap=True,
        )
        if show:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    if workers == 1:
        run(application, sock, started, verbose=verbose)
    else:
        application.state.service.close()
        run_many(settings, sock, started, workers, verbose=verbose)


def data_folder() -> Path:
    """Where classifiers are kept: ``LGMNET_STORE``, else in the user's data folder."""
    import platformdirs

    named = os.environ.get("LGMNET_STORE")
    return Path(named) if named else platformdirs.user_data_path("lgmnet") / "studio"
