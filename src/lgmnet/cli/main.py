"""Entry point of the command line, and the order of the commands in its help."""

import sys
from io import TextIOWrapper

from lgmnet.cli.console import app, print_error, print_notice, stderr
from lgmnet.cli.progress_bars import ProgressBars
from lgmnet.errors import UserError
from lgmnet.progress import set_progress_display

# Importing a command registers it. The help lists commands and panels in the order of these lines.
# isort: off
from lgmnet.cli import forge, edit, inspect, quickstart, export  # noqa: F401
from lgmnet.cli import predict, report  # noqa: F401
from lgmnet.cli import evaluate, compare, audit, calibrate  # noqa: F401
from lgmnet.cli import demo, reproduce, models  # noqa: F401
from lgmnet.cli import train, publish, download  # noqa: F401
from lgmnet.cli import studio, serve  # noqa: F401
# isort: on


def main() -> None:
    """Run the command line."""
    # A name that the encoding of stdout lacks must not end a command with an error.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    set_progress_display(ProgressBars(stderr).show)
    try:
        app()
    except UserError as error:
        print_error(str(error))
        sys.exit(2)
    except SystemExit as end:
        if end.code == 130:  # Typer's exit code after Ctrl-C.
            print_notice("Stopped.")
        raise
