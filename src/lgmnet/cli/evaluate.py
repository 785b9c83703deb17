"""Command ``lgmnet evaluate``."""

import dataclasses
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import (
    ChangedModel,
    Data,
    Episodes,
    Force,
    ModelName,
    Query,
    SaveFile,
    Seed,
    Shot,
    Split,
    Way,
)
from lgmnet.cli.score_file import check_score_destination, write_scores
from lgmnet.cli.training_overlap import overlap_as_json, overlap_lines
from lgmnet.errors import ConfigError


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
        bool, typer.Option("--record", help="Write the score into the model and its card.")
    ] = False,
    out: ChangedModel = None,
    force: Force = False,
) -> CommandResult:
    """Score a model on new tasks: mean accuracy, 95 % interval and protocol.

    Models that ship with lgmnet are read-only: --record writes them to --out.
    """
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation import evaluate as evaluate_method
    from lgmnet.model.folder import choose_changed_model_folder
    from lgmnet.model.model import load_model, save_model
    from lgmnet.model.sources import check_unseen, open_unseen_source

    if save is not None:
        check_score_destination(save, overwrite=force)
    if out is not None and not record:
        raise ConfigError("--out is where --record writes the model; add --record.")
    target = choose_changed_model_folder(model, out, overwrite=force) if record else None
    trained = load_model(model)
    shape = EpisodeShape(way, shot, query)
    source = open_unseen_source([(model, trained)], data, split, shape)
    overlap = check_unseen([(model, trained)], data, source)
    score = evaluate_method(
        trained.method, source, shape, episodes=episodes, seed=seed, draws=draws
    )
    result = {"method": trained.method_name, "model": trained.name} | dataclasses.asdict(score)
    result["training_overlap"] = overlap_as_json(overlap)
    episode_scores = result.pop("scores")
    if save is not None:
        write_scores(save, result, "scores", episode_scores, overwrite=force)
    if target is not None:
        save_model(trained.with_score(score), target, overwrite=force)
    text: list[RenderableType] = [
        f"[bold]{score.accuracy:.2f} ± {score.ci95:.2f} %[/]  {score.task}, "
        f"{escape(trained.name)} ({trained.method_name})",
        f"{score.protocol}; {escape(score.data)}, split {score.split} "
        f"(classes {score.split_hash}); {episodes} episodes, {query} queries per class, "
        f"seed {seed}; {score.seconds:.0f} s",
        f"expected calibration error: {score.calibration_error:.1f} percentage points",
    ]
    return CommandResult(result, [*text, *overlap_lines(overlap)])
