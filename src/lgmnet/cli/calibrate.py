"""Command ``lgmnet calibrate``."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import ChangedModel, Data, Force, ModelName, Query, Seed, Split, Way
from lgmnet.cli.training_overlap import overlap_as_json, overlap_lines
from lgmnet.errors import ConfigError

if TYPE_CHECKING:
    from lgmnet.evaluation.aspects import Profile
    from lgmnet.model.model import Model


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
    aspects_on: Annotated[
        str | None,
        typer.Option(
            metavar="DATA:SPLIT",
            help="Training tasks by criterion, such as photos-by-criterion:train, on which the "
            "words are measured in which classifiers tell what they judge by.",
        ),
    ] = None,
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
    on_data, on_split = parse_split("--on", on, "strokes:val")
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
    if aspects_on is not None:
        profiles = measure_aspects(trained, aspects_on, seed)
        trained = dataclasses.replace(trained, profiles=profiles)
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
    if aspects_on is not None:
        words = ", ".join(dict.fromkeys(profile.aspect for profile in trained.profiles))
        text.append(f"classifiers will tell what they judge by in the words {words}")
    result = {"model": trained.name, "rejections": [dataclasses.asdict(r) for r in rejections]}
    result["profiles"] = [dataclasses.asdict(profile) for profile in trained.profiles]
    return CommandResult(
        result | {"training_overlap": [overlap_as_json(overlap) for overlap in overlaps]}, [*text]
    )


def parse_split(option: str, value: str, example: str) -> tuple[str, str]:
    """Parse ``DATA:SPLIT``; the data may have a colon of its own.

    Raises:
        ConfigError: if a part is missing.
    """
    data, colon, split = value.rpartition(":")
    if not (colon and data and split):
        raise ConfigError(f"'{option} {value}' must be DATA:SPLIT, such as {example}.")
    return data, split


def measure_aspects(model: "Model", on: str, seed: int) -> "tuple[Profile, ...]":
    """Measure what classifiers by known criteria look at (see `lgmnet.evaluation.aspects`).

    Raises:
        ConfigError: if the data is not by criterion, or the model's features have no groups.
    """
    from lgmnet.data.synthetic.criterion_pool import CriterionPool
    from lgmnet.evaluation.aspects import measure_profiles
    from lgmnet.model.sources import open_model_source

    data, split = parse_split("--aspects-on", on, "photos-by-criterion:train")
    source = open_model_source(data, split, model.method.inputs.shape, model.backbone)
    if not isinstance(source, CriterionPool):
        raise ConfigError(
            f"'--aspects-on {on}' has no criteria. Use data by criterion, such as "
            "photos-by-criterion:train."
        )
    return measure_profiles(model.method, source, seed)
