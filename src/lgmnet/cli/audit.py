"""Command ``lgmnet audit``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Data, ModelName, Query, Shot, Split, Way

if TYPE_CHECKING:
    from lgmnet.evaluation.audit import Outcome

COLOURED: dict[Outcome, str] = {
    "passed": "[green]passed[/]",
    "failed": "[bold red]failed[/]",
    "not checked": "[yellow]not checked[/]",
}
"""Outcomes as they are printed."""


@command("Measure", example="[bold]lgmnet audit omniglot --data omniglot[/]")
def audit(
    model: ModelName,
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shot: Shot = 1,
    query: Query = 15,
    episodes: Annotated[
        int, typer.Option(min=16, help="Number of tasks per check that measures an accuracy.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the task draws and the noise.")] = 0,
) -> CommandResult:
    """Check whether the score of a model can be trusted.

    Exits with code 0 if all checks passed, 1 if one failed, and 3 if none failed but one could not
    be made.
    """
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation.audit import audit as audit_method
    from lgmnet.model.model import load_model
    from lgmnet.model.sources import open_photos, open_training_data, open_unseen_source

    trained = load_model(model)
    shape = EpisodeShape(way, shot, query)
    source = open_unseen_source([(model, trained)], data, split, shape, may_overlap=True)
    training = open_training_data(trained)
    result = audit_method(
        trained.method,
        source,
        trained_on=training.sources,
        unknown_training=training.unknown,
        training_hash=training.class_hash,
        photos=open_photos(trained, data, source.split),
        shape=shape,
        episodes=episodes,
        seed=seed,
    )
    text: list[RenderableType] = [
        f"{COLOURED[check.outcome]}  [bold]{check.name}[/]: {escape(check.reason)}"
        for check in result.checks
    ]
    n_checks = len(result.checks)
    counts = {outcome: len(result.names(outcome)) for outcome in COLOURED}
    verdicts = {
        "passed": f"passed; all {n_checks} checks found nothing.",
        "failed": f"failed; {counts['failed']} of {n_checks} checks failed.",
        "not checked": (
            f"not checked; {counts['not checked']} of {n_checks} checks could not be made, the "
            "others passed."
        ),
    }
    text.append(
        f"{escape(trained.name)} on {escape(source.name)}, split {escape(source.split)} "
        f"(classes {source.split_hash}): {verdicts[result.outcome]}"
    )
    tested = {"data": source.name, "split": source.split, "split_hash": source.split_hash}
    checks = [dataclasses.asdict(check) for check in result.checks]
    summary = {"model": trained.name, **tested, "outcome": result.outcome, "checks": checks}
    return CommandResult(summary, text, exit_code=result.exit_code)
