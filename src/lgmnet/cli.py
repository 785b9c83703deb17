"""The command line. Results go to stdout, everything else to stderr; bad input ends with code 2."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lgmnet.errors import ConfigError, DataError, UserError, unknown_name

app = typer.Typer(
    help="A handful of labelled images in, a working classifier out, in one forward pass.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]


def show_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        from lgmnet import __version__

        out.print(f"lgmnet {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=show_version, help="Print the version."),
    ] = False,
) -> None:
    """What stands before every command."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except UserError as error:
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("Stopped.")
        sys.exit(130)


def complain(sentence: str) -> None:
    """Print an error as a sentence."""
    err.print(f"[bold red]error:[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def escape(text: str) -> str:
    """Text that Rich prints as it is."""
    from rich.markup import escape as rich_escape

    return rich_escape(text)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextmanager
def progress_bar(words: str, total: int) -> Iterator[Any]:
    """A bar on stderr; yields a function that is told how much was just done."""
    columns = (TextColumn(words), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


@app.command(
    epilog="Example: [bold]lgmnet train omniglot --out runs/mine --set steps=2000[/]"
)
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe.")],
    data: Annotated[str | None, typer.Option(help="Train on other data than the recipe's.")] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of the model. Default: outputs/RECIPE.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, as --set steps=N.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A field of the recipe, field=value; repeatable.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")] = "auto",
    as_json: Json = False,
) -> None:
    """Meta-train a method by a recipe; writes a model folder that every other command takes."""
    from lgmnet.recipes import RECIPES
    from lgmnet.recipes.sources import open_source, splits_for
    from lgmnet.configs import with_settings

    if recipe not in RECIPES:
        raise unknown_name("recipe", recipe, RECIPES)
    run = RECIPES[recipe]()
    if data is not None and data != run.data:
        train_split, val_split = splits_for(data)
        run = dataclasses.replace(run, data=data, split=train_split, val_split=val_split)
    run = with_settings(run, [*(settings or []), *([f"steps={steps}"] if steps is not None else [])])
    folder = out_dir or Path("outputs") / recipe
    sources = open_source(run.data, run.split), open_source(run.data, run.val_split)

    from lgmnet.training.launch import launch

    model = launch(run, *sources, folder, resume=resume, devices=devices, accelerator=accelerator)
    if model is None:
        return
    story = model.training
    if as_json:
        print_json({"model": str(folder), "recipe": recipe, "data": story.data, "split": story.split,
                    "split_hash": story.split_hash, "step": story.step, "val_task": story.val_task,
                    "val_accuracy": story.val_accuracy, "val_ci95": story.val_ci95})
    else:
        out.print(
            f"{folder}: {story.val_accuracy:.2f} ± {story.val_ci95:.2f} % on validation classes "
            f"({story.val_task}), weights of step {story.step:,}."
        )


if __name__ == "__main__":
    main()
