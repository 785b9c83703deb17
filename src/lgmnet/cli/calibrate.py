"""Command ``lgmnet calibrate``."""

import dataclasses
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import ChangedModel, Data, Force, ModelName, Query, Seed, Split, Way
from lgmnet.cli.training_overlap import overlap_as_json, overlap_lines
from lgmnet.errors import ConfigError


@command(
    "Measure", example="[bold]lgmnet calibrate outputs/mine --on strokes:val --data omniglot[/]"
)
def calibrate(
    model: ModelName,
    on: Annotated[
        str,
        typer.Option(
            metavar="DATA:SPLIT",
            help="Data for choosing the thresholds; its classes must not be in the training data.",
        ),
    ],
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shots: Annotated[
        list[int] | None,
        typer.Option(
            "--shot", help="Number of support images per class; repeatable. Default: 1 and 5."
        ),
    ] = None,
    query: Query = 15,
    episodes: Annotated[int, typer.Option(min=2, help="Number of tasks per shot.")] = 500,
    seed: Seed = 0,
    out: ChangedModel = None,
    force: Force = False,
) -> CommandResult:
    """Choose thresholds for "none of these" and write them into the model and its card.

    A threshold makes both kinds of errors equally frequent on the classes of --on. The error rates
    are then measured on the classes of --data. Models that ship with lgmnet are read-only: a copy
    with the thresholds is written to --out.
    """
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation.rejection import calibrate_rejection
    from lgmnet.model.folder import choose_changed_model_folder
    from lgmnet.model.model import load_model, save_model
    from lgmnet.model.sources import check_unseen, open_unseen_source

    target = choose_changed_model_folder(model, out, overwrite=force)
    trained = load_model(model)
    on_data, colon, on_split = on.partition(":")
    if not (colon and on_data and on_split):
        raise ConfigError(f"'--on {on}' must be DATA:SPLIT, such as strokes:val.")
    chosen_on = open_unseen_source([(model, trained)], on_data, on_split)
    measured_on = open_unseen_source([(model, trained)], data, split)
    overlaps = [
        check_unseen([(model, trained)], name, source)
        for name, source in ((on_data, chosen_on), (data, measured_on))
    ]
    rejections = []
    for shot in shots or [1, 5]:
        shape = EpisodeShape(way, shot, query)
        rejection = calibrate_rejection(
            trained.method, chosen_on, measured_on, shape, episodes=episodes, seed=seed
        )
        trained = trained.with_rejection(rejection)
        rejections.append(rejection)
    save_model(trained, target, overwrite=force)
    text = [
        f"{r.way}-way {r.shot}-shot: threshold {r.threshold:.3f}, chosen on "
        f"{escape(r.chosen_on)}; on {escape(r.measured_on)}, {r.false_accept:.1f} % of the "
        f"images of other classes are accepted and {r.false_reject:.1f} % of the images of the "
        "task's classes are rejected"
        for r in rejections
    ]
    for overlap in dict.fromkeys(overlaps):  # Once, if it is the same for both data.
        text += overlap_lines(overlap)
    result = {"model": trained.name, "rejections": [dataclasses.asdict(r) for r in rejections]}
    return CommandResult(
        result | {"training_overlap": [overlap_as_json(overlap) for overlap in overlaps]}, [*text]
    )
