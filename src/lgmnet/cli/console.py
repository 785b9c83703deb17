"""The Typer app, the two output streams, and the one place that prints the result of a command."""

import functools
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from lgmnet import __version__

app = typer.Typer(
    help="A handful of labelled images in, a working classifier out, in one forward pass.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
stdout = Console(emoji=False)
stderr = Console(stderr=True, emoji=False)

Panel = Literal["Make", "Use", "Measure", "Train", "Serve"]
"""Heading of a group of commands in the help."""
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
]


@dataclass(frozen=True)
class CommandResult:
    """Result of a command."""

    data: dict[str, Any]
    """JSON object to print with ``--json``."""
    text: list[RenderableType]
    """Lines with rich markup, and tables, to print without ``--json``."""
    exit_code: int = 0
    """Exit code of the program after the result is printed."""


F = TypeVar("F", bound=Callable[..., "CommandResult | None"])


def command(panel: Panel, *, example: str) -> Callable[[F], F]:
    """Register a function as the command of the same name and give it the option ``--json``.

    The command prints the `CommandResult` that the function returns. A function that prints its
    output itself, because it streams, returns None. A function whose last parameter is ``as_json``
    receives the value of ``--json``. The example, in rich markup, stands at the end of the help.
    """

    def register(function: F) -> F:
        # Typer would keep the line breaks inside the paragraphs of the docstring.
        paragraphs = (inspect.getdoc(function) or "").split("\n\n")
        register_run = app.command(
            function.__name__,
            help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
            epilog=f"Example: {example}",
            rich_help_panel=panel,
        )
        register_run(_with_json_option(function))
        return function

    return register


def _with_json_option(function: Callable[..., CommandResult | None]) -> Callable[..., None]:
    signature = inspect.signature(function, eval_str=True)
    parameters = dict(signature.parameters)
    takes_json = "as_json" in parameters
    parameters["as_json"] = inspect.Parameter(
        "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption
    )

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        as_json = arguments["as_json"] if takes_json else arguments.pop("as_json")
        result = function(**arguments)
        if result is None:
            return
        if as_json:
            print_json(result.data)
        else:
            print_text(*result.text)
        if result.exit_code:
            raise typer.Exit(result.exit_code)

    # Typer reads the parameters from the signature and their types from the annotations.
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(parameters.values()), return_annotation=None
    )
    run.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    return run


def print_text(*parts: RenderableType) -> None:
    """Print text with rich markup, and tables, on stdout; lines of text are not wrapped."""
    for part in parts:
        if isinstance(part, Table):
            stdout.print(part)
        else:
            stdout.print(part, highlight=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object as one line on stdout."""
    sys.stdout.write(json.dumps(value) + "\n")


def print_notice(text: str) -> None:
    """Print plain text on stderr; lines are not wrapped."""
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


def print_error(message: str) -> None:
    """Print an error message on stderr."""
    stderr.print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)


def _print_version(requested: bool) -> bool:
    if requested:
        print_text(f"lgmnet {__version__}")
        raise typer.Exit
    return requested


@app.callback()
def _add_version_option(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    pass
