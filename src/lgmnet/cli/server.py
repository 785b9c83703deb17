"""Options and server process of ``lgmnet studio`` and ``lgmnet serve``."""

import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import print_json, print_notice, print_text
from lgmnet.engines.names import AUTO, ENGINE_VARIABLE, EngineName
from lgmnet.errors import ConfigError, require_extra

TOKEN_VARIABLE = "LGMNET_TOKEN"
"""Environment variable with the token that every request must carry."""

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free port.")
]
StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--store", help="Folder of the classifiers. Default: LGMNET_STORE, else your data folder."
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="Database for the index instead of --store, such as "
        "postgresql+psycopg://user@host/name; servers may share it. Needs --files.",
    ),
]
FilesUrl = Annotated[
    str | None,
    typer.Option(
        "--files", metavar="URL", help="Folder or bucket (fsspec URL) for the files of --database."
    ),
]
ModelNames = Annotated[
    list[str] | None, typer.Option("--model", help="Folder of an additional model; repeatable.")
]
HostNames = Annotated[
    list[str] | None,
    typer.Option("--host-name", help="Additional host name of the server; repeatable."),
]
WithoutToken = Annotated[
    bool,
    typer.Option(
        "--without-token",
        help=f"Allow access from other machines although {TOKEN_VARIABLE} is not set.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print a line for every request.")]


def run_server(
    host: str,
    port: int,
    *,
    store: Path | None,
    database: str | None,
    files: str | None,
    models: Sequence[str] | None,
    host_names: Sequence[str] | None,
    without_token: bool,
    engine: EngineName,
    verbose: bool,
    as_json: bool,
    page: bool,
    workers: int = 1,
    open_browser: bool = False,
) -> None:
    """Open the store and serve until Ctrl-C.

    Most arguments are the options above. With ``page``, the studio's page is served in addition to
    the HTTP API.

    Raises:
        UserError: if a package, a model or the store is missing, or the address cannot be used.
    """
    from platformdirs import user_data_path

    with require_extra("studio", "the studio and the server"):
        import python_multipart  # noqa: F401  # FastAPI looks for it when routes are made

        from lgmnet.engines.runtimes import check_engine
        from lgmnet.studio.app import Settings, create_app
        from lgmnet.studio.middleware import is_loopback
        from lgmnet.studio.process import check_address, open_listening_socket, run, run_many
        from lgmnet.studio.store import store_urls

    token = os.environ.get(TOKEN_VARIABLE) or None
    name = check_engine(engine)
    if engine != AUTO:
        os.environ[ENGINE_VARIABLE] = name  # The worker processes inherit it.
    check_address(host, token, allow_anyone=without_token)
    if (database is None) != (files is None) or (store and database):
        raise ConfigError(
            "Give --store FOLDER, or --database URL and --files URL together, or none of them."
        )
    if database is None or files is None:
        named = store or os.environ.get("LGMNET_STORE")
        folder = Path(named) if named else user_data_path("lgmnet") / "studio"
        location = str(folder)
        database, files = store_urls(folder)
    else:
        location = files
    # A web page whose own host name resolves to this machine must not be able to call the server.
    # On other addresses the token prevents that, and only the operator knows the host names.
    known_hosts = ["localhost", "127.0.0.1", "::1", host, *(host_names or [])]
    allowed_hosts = known_hosts if is_loopback(host) or host_names else []
    print_notice("Loading the models…")
    settings = Settings(
        database, files, tuple(models or []), token=token, hosts=tuple(allowed_hosts), page=page
    )
    application = create_app(settings)
    application.state.service.models()  # Reports a faulty model before the server listens.
    socket = open_listening_socket(host, port)
    bound_port = socket.getsockname()[1]
    url_host = f"[{host}]" if ":" in host else host
    address = f"http://{url_host}:{bound_port}{'' if page else '/docs'}"

    def on_started() -> None:
        if as_json:
            print_json({"address": address, "store": location, "process": os.getpid()})
        else:
            name = "lgmnet studio" if page else "lgmnet serve"
            print_text(f"{name}: [bold]{escape(address)}[/]")
        sys.stdout.flush()  # A program that started this one waits for the line.
        print_notice(f"Classifiers are stored in {location}. Ctrl-C stops the server.")
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    if workers == 1:
        run(application, socket, on_started, verbose=verbose)
    else:
        application.state.service.close()
        run_many(settings, socket, on_started, workers, verbose=verbose)
