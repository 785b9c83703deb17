"""The Typer app, the two output streams, and the one place that prints the result of a command.

Names of files and classes come from strangers. All text on the two streams passes
`escape_controls`, so that it cannot move the cursor, change colours, or read in another order than
it is stored. JSON needs none of this: it escapes such characters itself.
"""

import functools
import inspect
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lgmnet import __version__

app = typer.Typer(
    help="A handful of labelled images in, a working classifier out, in one forward pass.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters of C0 and C1, line breaks included; overrides of the direction of text; and
bytes of file names that are no UTF-8."""


def escape_controls(text: str) -> str:
    r"""Replace control characters by their backslash escapes, such as ``\x1b`` and ``\u202e``.

    >>> print(escape_controls("\x1b[31mred"))
    \x1b[31mred
    """
    return CONTROL_CHARACTERS.sub(lambda match: ascii(match[0])[1:-1], text)


class SafeConsole(Console):
    """Rich console that escapes the control characters of all text, also in the cells of tables."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert text, which Rich does for each string that it prints, without its controls."""
        return super().render_str(escape_controls(text), **options)


stdout = SafeConsole(emoji=False)
stderr = SafeConsole(stderr=True, emoji=False)

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
    """Print lines with rich markup, and tables, on stdout; lines are not wrapped.

    Each string is one line: a line break inside it is escaped.
    """
    for part in parts:
        if isinstance(part, Table):
            stdout.print(part)
        else:
            stdout.print(part, highlight=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object as one line on stdout."""
    sys.stdout.write(json.dumps(value) + "\n")


def print_notice(text: str) -> None:
    """Print one line of plain text on stderr; it is not wrapped."""
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


def print_error(message: str) -> None:
    """Print an error message on stderr, as one line."""
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
