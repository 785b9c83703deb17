"""``train``, ``publish`` and ``download``: how a model comes to be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import (
    Json,
    ModelName,
    app,
    print_json,
    progress_bar,
    say,
)
from lgmnet.errors import extra, unknown_name


@app.command(epilog="Example: [bold]lgmnet train omniglot --out outputs/mine --set steps=2000[/]")
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A published run, such as omniglot; a wrong name lists all."
        ),
    ],
    data: Annotated[str | None, typer.Option(help="Train on other data than the recipe's.")] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of the model. Default: outputs/RECIPE.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, as --set steps=N.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Start from the weights of this model.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field of the recipe, field=value; repeatable."),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    nodes: Annotated[
        int,
        typer.Option(min=1, help="Machines, when torchrun starts this on each of them."),
    ] = 1,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")] = "auto",
    as_json: Json = False,
) -> None:
    """Meta-train a method by a recipe; writes a model folder that every other command takes."""
    from lgmnet.config import with_settings
    from lgmnet.data.registry import default_splits
    from lgmnet.experiments.recipes import RECIPES

    if recipe not in RECIPES:
        raise unknown_name("recipe", recipe, RECIPES)
    run = RECIPES[recipe]()
    if data is not None and data != run.data:
        train_split, val_split = default_splits(data)
        run = dataclasses.replace(run, data=data, split=train_split, val_split=val_split)
    if start is not None:
        run = dataclasses.replace(run, start=start)
    run = with_settings(
        run, [*(settings or []), *([f"steps={steps}"] if steps is not None else [])]
    )
    folder = out_dir or Path("outputs") / recipe

    with extra("train", "training runs"):
        from lgmnet.training.launch import launch, open_training_sources

    train_source, val_source = open_training_sources(run)

    model = launch(
        run,
        train_source,
        val_source,
        folder,
        resume=resume,
        devices=devices,
        nodes=nodes,
        accelerator=accelerator,
    )
    if model is None:  # The first process speaks for all.
        return
    story = model.training
    if as_json:
        print_json(
            {
                "model": str(folder),
                "recipe": recipe,
                "data": story.data,
                "split": story.split,
                "split_hash": story.split_hash,
                "step": story.step,
                "val_split": story.val_split,
                "val_task": story.val_task,
                "val_accuracy": story.val_accuracy,
                "val_ci95": story.val_ci95,
            }
        )
    else:
        if story.step == 0:
            say(f"{escape(str(folder))}: {model.method_name} learns nothing beforehand.")
            return
        scored = (
            "no validation classes"
            if story.val_split is None
            else f"{story.val_accuracy:.2f} ± {story.val_ci95:.2f} % on validation classes "
            f"({story.val_task})"
        )
        say(f"{escape(str(folder))}: {scored}, weights of step {story.step:,}.")


@app.command(
    epilog="Example: [bold]lgmnet publish outputs/omniglot -o src/lgmnet/pretrained/omniglot[/]"
)
def publish(
    model: ModelName,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    as_json: Json = False,
) -> None:
    """Copy a model with its weights in 16 bits, as the package ships it."""
    from lgmnet.model.model import load_model, save_model

    save_model(dataclasses.replace(load_model(model), half_precision=True), output)
    size = sum(path.stat().st_size for path in output.iterdir())
    if as_json:
        print_json({"model": str(output), "bytes": size})
    else:
        say(f"{escape(str(output))}: {size / 1e6:.1f} MB")


@app.command(epilog="Example: [bold]lgmnet download omniglot[/]")
def download(
    data: Annotated[str, typer.Argument(help="omniglot")],
    folder: Annotated[
        Path | None, typer.Option("--to", help="Data folder. Default: LGMNET_DATA or shared/data.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a data set over the network, once; no other command ever does."""
    from lgmnet.data.datasets import omniglot
    from lgmnet.data.images.archives import data_folders

    if data != "omniglot":
        raise unknown_name("data to download", data, ["omniglot"])
    with progress_bar("characters", omniglot.CLASSES) as progress:
        pack = omniglot.download(folder or data_folders()[0], progress)
    if as_json:
        print_json({"data": data, "file": str(pack)})
    else:
        say(escape(str(pack)))
