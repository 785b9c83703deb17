"""The command line. Results go to stdout, all else to stderr; bad input ends with code 2."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from lgmnet.cli import (  # noqa: F401  (they add their commands)
    asking,
    exporting,
    forging,
    judging,
    reproduce,
    serving,
    training,
)
from lgmnet.cli.console import app, complain, err
from lgmnet.errors import UserError


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, TextIOWrapper):  # A name that it cannot spell must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        complain(str(error))
        sys.exit(2)
    except SystemExit as end:
        if end.code == 130:  # So Typer ends after Ctrl-C.
            err.print("Stopped.")
        raise
