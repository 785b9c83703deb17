"""Command ``lgmnet train``."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Force
from lgmnet.errors import require_extra, unknown_name_error


@command("Train", example="[bold]lgmnet train omniglot --out outputs/mine --set steps=2000[/]")
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="Name of a published run, such as omniglot; an unknown name lists all names.",
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="Data to train on. Default: the data of the recipe.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of the model. Default: outputs/RECIPE.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Number of optimiser steps, the same as --set steps=N.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Model whose weights the run starts from.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder of the model.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Field of the recipe to set, as field=value; repeatable."),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    nodes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of machines, if torchrun starts this command on each of them; they share "
            "the disk of --out.",
        ),
    ] = 1,
    accelerator: Annotated[
        str, typer.Option(help="Type of the devices: cpu, cuda, mps or auto.")
    ] = "auto",
    force: Force = False,
) -> CommandResult | None:
    """Meta-train a method by a recipe and write a model folder for the other commands."""
    from lgmnet.config import with_settings
    from lgmnet.data.registry import default_splits
    from lgmnet.experiments.recipes import RECIPES

    if recipe not in RECIPES:
        raise unknown_name_error("recipe", recipe, RECIPES)
    run = RECIPES[recipe]()
    if data is not None and data != run.data:
        train_split, val_split = default_splits(data)
        run = dataclasses.replace(run, data=data, split=train_split, val_split=val_split)
    if start is not None:
        run = dataclasses.replace(run, start=start)
    run = with_settings(run, settings or []).for_steps(steps)
    folder = out_dir or Path("outputs") / recipe

    with require_extra("train", "training runs"):
        from lgmnet.training.launch import check_run_folder, launch, open_training_sources

    check_run_folder(folder, resume=resume, overwrite=force)
    model = launch(
        run,
        *open_training_sources(run),
        folder,
        resume=resume,
        devices=devices,
        nodes=nodes,
        accelerator=accelerator,
        overwrite=force,
    )
    if model is None:  # Only the first of several processes prints the result.
        return None
    training = model.training
    if training.step == 0:
        text = f"{model.method_name} needs no meta-training."
    elif training.val_split is None:
        text = f"no validation classes, weights of step {training.step:,}."
    else:
        text = (
            f"{training.val_accuracy:.2f} ± {training.val_ci95:.2f} % on validation classes "
            f"({training.val_task}), weights of step {training.step:,}."
        )
    names = ["data", "split", "split_hash", "step", "val_split", "val_task"]
    names += ["val_accuracy", "val_ci95"]
    result = {"model": str(folder), "recipe": recipe}
    result |= {name: getattr(training, name) for name in names}
    return CommandResult(result, [f"{escape(str(folder))}: {text}"])
