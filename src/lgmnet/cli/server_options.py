"""Options that ``lgmnet studio`` and ``lgmnet serve`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    list[str] | None,
    typer.Option("--model", help="Folder of an additional model; repeatable."),
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
