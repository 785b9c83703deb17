"""Entry point of the command line, and the order of the commands in its help."""

import errno
import os
import sys
import warnings
from io import TextIOWrapper
from typing import TextIO

from lgmnet.cli.console import app, print_error, print_notice, stderr
from lgmnet.cli.options import complete_options, refuse_empty
from lgmnet.cli.progress_bars import ProgressBars
from lgmnet.errors import UserError
from lgmnet.progress import set_progress_display

# Importing a command registers it. The help lists commands and panels in the order of these lines.
# isort: off
from lgmnet.cli import example, forge, edit, suggest, inspect, quickstart, export  # noqa: F401
from lgmnet.cli import predict, report  # noqa: F401
from lgmnet.cli import evaluate, compare, audit, calibrate  # noqa: F401
from lgmnet.cli import demo, reproduce, models  # noqa: F401
from lgmnet.cli import train, publish, download  # noqa: F401
from lgmnet.cli import studio, serve, mcp  # noqa: F401
# isort: on


FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """Run the command line.

    A reader of the output that has seen enough, such as ``head``, ends it with code 0.
    """
    open_missing_streams()
    # A name that the encoding of a stream lacks must not end a command with an error.
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    set_progress_display(ProgressBars(stderr).show)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            code = run_command()
        sys.stdout.flush()
    except BrokenPipeError:
        code = 0
        discard_output()
    except OSError as error:
        if error.filename is not None or error.errno not in FULL_DISK:
            raise
        code = 2
        print_error(f"Cannot write the output: {error.strerror}. Make room, or write it elsewhere.")
        discard_output()
    sys.exit(code)


def open_missing_streams() -> None:
    """Open a standard stream that is closed as an empty one, so that every command finds three."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line on stderr, without the place in the code that it comes from."""
    print_notice(f"warning: {message}")


def run_command() -> str | int | None:
    """Run the command that the arguments name, and return the exit code of the program.

    Raises:
        BrokenPipeError: if nobody reads the output any more.
    """
    try:
        refuse_empty(sys.argv[1:])
        app(complete_options(sys.argv[1:]))
    except UserError as error:
        print_error(str(error))
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        print_error(f"Cannot use '{error.filename}': {error.strerror}.")
        return 2
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer and Rich exit with code 1 then.
            raise end.__context__ from None
        if end.code == 130:  # Typer's exit code after Ctrl-C.
            print_notice("Stopped.")
        return end.code
    return 0


def discard_output() -> None:
    """Discard what is still to be written, which would fail again when the program ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
