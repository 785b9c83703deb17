"""What all commands share: the program, its two streams, and how it speaks on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lgmnet import __version__

app = typer.Typer(
    help="A handful of labelled images in, a working classifier out, in one forward pass.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A shipped model's name, or a folder that train wrote."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
]


def show_version(asked: bool) -> bool:
    """Print the version and end, if asked to."""
    if asked:
        out.print(f"lgmnet {__version__}", highlight=False)
        raise typer.Exit
    return asked


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=show_version, help="Print the version."),
    ] = False,
) -> None:
    """What stands before every command."""


def complain(sentence: str) -> None:
    """Print an error as a sentence."""
    err.print(f"[bold red]error:[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def say(words: str) -> None:
    """Print lines on stdout, unbroken however narrow the terminal."""
    out.print(words, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(value) + "\n")


@contextmanager
def progress_bar(words: str, total: int | None, *, quiet: bool = False) -> Iterator[Any]:
    """A bar on stderr; yields a function that is told how much was just done, and of what.

    Args:
        words: What is counted.
        total: How many there are, or None where that is not known.
        quiet: Show nothing, where what is printed shows enough.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=err, transient=True, disable=quiet or not err.is_terminal
    ) as bar:
        task = bar.add_task(words, total=total)

        def advance(done: int, of: str | None = None) -> None:
            bar.update(task, advance=done, description=words if of is None else f"{words}, {of}")

        yield advance
