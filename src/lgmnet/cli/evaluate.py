"""Command ``lgmnet evaluate``."""

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape

from lgmnet import __version__
from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Data, Episodes, ModelName, Query, SaveFile, Seed, Shot, Split, Way
from lgmnet.versioning import git_commit


@command("Measure", example="[bold]lgmnet evaluate omniglot --way 20 --shot 1 --episodes 1000[/]")
def evaluate(
    model: ModelName,
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shot: Shot = 1,
    query: Query = 15,
    episodes: Episodes = 1000,
    seed: Seed = 0,
    draws: Annotated[
        int,
        typer.Option(
            min=0, help="Number of random contexts to average over; 0 uses the mean context."
        ),
    ] = 0,
    save: SaveFile = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the score into the model card.")
    ] = False,
) -> CommandResult:
    """Score a model on new tasks: mean accuracy, 95 % interval and protocol."""
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation import evaluate as evaluate_method
    from lgmnet.io import check_writable, write_text
    from lgmnet.model.model import load_model, save_model
    from lgmnet.model.registry import model_folder
    from lgmnet.model.sources import open_unseen_source

    if save is not None:
        check_writable(save)
    trained = load_model(model)
    source = open_unseen_source([(model, trained)], data, split)
    method, shape = trained.method, EpisodeShape(way, shot, query)
    score = evaluate_method(method, source, shape, episodes=episodes, seed=seed, draws=draws)
    result = {"method": trained.method_name, "model": trained.name} | dataclasses.asdict(score)
    episode_scores = result.pop("scores")
    if save is not None:
        code_version = {"lgmnet": __version__, "commit": git_commit()}
        write_text(save, json.dumps({**result, **code_version, "scores": episode_scores}) + "\n")
    if record:
        save_model(trained.with_score(score), model_folder(model))
    text: list[RenderableType] = [
        f"[bold]{score.accuracy:.2f} ± {score.ci95:.2f} %[/]  {score.task}, "
        f"{escape(trained.name)} ({trained.method_name})",
        f"{score.protocol}; {escape(score.data)}, split {score.split} "
        f"(classes {score.split_hash}); {episodes} episodes, {query} queries per class, "
        f"seed {seed}; {score.seconds:.0f} s",
        f"expected calibration error: {score.calibration_error:.1f} percentage points",
    ]
    return CommandResult(result, text)
