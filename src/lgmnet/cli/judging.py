"""``evaluate``, ``models``: what a model is worth."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lgmnet import __version__
from lgmnet.cli.terminal import (
    Json,
    ModelName,
    app,
    out,
    print_json,
    progress_bar,
    say,
)
from lgmnet.errors import DataError


@app.command(epilog="Example: [bold]lgmnet evaluate omniglot --way 20 --shot 1 --episodes 1000[/]")
def evaluate(
    model: ModelName,
    data: Annotated[str, typer.Option(help="omniglot, strokes or digits.")] = "omniglot",
    split: Annotated[
        str, typer.Option(help="train, val or test; of Omniglot also vinyals/test, lake/test, ...")
    ] = "test",
    way: Annotated[int, typer.Option(help="Classes of a task.")] = 5,
    shot: Annotated[int, typer.Option(help="Support images of a class.")] = 1,
    query: Annotated[int, typer.Option(help="Query images of a class.")] = 15,
    episodes: Annotated[int, typer.Option(help="Tasks to score.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the tasks.")] = 0,
    draws: Annotated[
        int, typer.Option(min=0, help="Average over this many random contexts; 0: their mean.")
    ] = 0,
    save: Annotated[
        Path | None, typer.Option(help="Write the result, every episode's score in it, as JSON.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the score into the model's card.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score a model on fresh tasks: mean, 95 % interval, and the protocol beside them."""
    from lgmnet.data.source import check_features, share_classes
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation import evaluate as score_on
    from lgmnet.files import check_writable, write_text
    from lgmnet.hub import load_model, model_folder, save_model
    from lgmnet.recipes.sources import full_split, open_source

    if save is not None:
        check_writable(save)
    trained = load_model(model)
    story = trained.training
    trained_on = story.split if story.data == data else None
    source = open_source(data, full_split(data, split, trained_on))
    for seen in story.splits_of(data):
        if share_classes(source, open_source(data, seen)):
            raise DataError(
                f"'{model}' was trained on the split '{seen}', which shares classes with "
                f"'{source.split}'; a score on classes seen in training says nothing."
            )
    check_features(source, trained.method.config.feature_shape)
    shape = EpisodeShape(way, shot, query)
    with progress_bar("episodes", episodes) as progress:
        score = score_on(
            trained.method,
            source,
            shape,
            episodes=episodes,
            seed=seed,
            draws=draws,
            progress=progress,
        )
    about = {"method": trained.method_name, "model": trained.name} | dataclasses.asdict(score)
    episode_scores = about.pop("scores")
    if save is not None:
        written = {**about, "lgmnet": __version__, "commit": commit(), "scores": episode_scores}
        write_text(save, json.dumps(written) + "\n")
    if record:
        save_model(trained.with_score(score), model_folder(model))
    if as_json:
        print_json(about)
    else:
        say(
            f"[bold]{score.accuracy:.2f} ± {score.ci95:.2f} %[/]  {score.task}, "
            f"{escape(trained.name)} "
            f"({trained.method_name})\n{score.protocol}; {score.data}, split {score.split} "
            f"(classes {score.split_hash}); {episodes} episodes of {query} queries a class, "
            f"seed {seed}; {score.seconds:.0f} s"
        )


def commit() -> str | None:
    """The commit of this code, with ``+`` where files differ from it; None outside git."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@app.command(epilog="Example: [bold]lgmnet models --json[/]")
def models(as_json: Json = False) -> None:
    """List the models that ship with the package, with their scores."""
    from lgmnet.hub import load_model, shipped_models

    shipped = [load_model(name) for name in shipped_models()]
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": model.name,
                        "method": model.method_name,
                        "feature_shape": model.method.config.feature_shape,
                        "training": dataclasses.asdict(model.training),
                        "scores": [
                            {k: v for k, v in dataclasses.asdict(score).items() if k != "scores"}
                            for score in model.scores
                        ],
                    }
                    for model in shipped
                ]
            }
        )
        return
    for model in shipped:
        shape = " x ".join(map(str, model.method.config.feature_shape))
        say(
            f"[bold]{model.name}[/]: {model.method_name}, images {shape}, trained on "
            f"{model.training.data} ({model.training.split})"
        )
        table = Table("task", "accuracy, %", "data", "split", "protocol", "episodes", box=None)
        for score in model.scores:
            table.add_row(
                score.task,
                f"{score.accuracy:.2f} ± {score.ci95:.2f}",
                score.data,
                f"{score.split} ({score.split_hash})",
                score.protocol,
                str(score.episodes),
            )
        out.print(table)
