"""Command ``lgmnet audit``."""

import dataclasses
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Data, ModelName, Query, Shot, Split, Way


@command("Measure", example="[bold]lgmnet audit omniglot --data omniglot[/]")
def audit(
    model: ModelName,
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shot: Shot = 1,
    query: Query = 5,
    episodes: Annotated[
        int, typer.Option(min=16, help="Number of tasks per check that measures an accuracy.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the task draws and the noise.")] = 0,
) -> CommandResult:
    """Check whether the score of a model can be trusted; exits with code 1 if a check fails."""
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation.audit import audit as audit_method
    from lgmnet.model.model import load_model
    from lgmnet.model.sources import open_training_splits, open_unseen_source

    trained = load_model(model)
    source = open_unseen_source([(model, trained)], data, split, may_overlap=True)
    result = audit_method(
        trained.method,
        source,
        trained_on=open_training_splits(
            trained.training.training_splits, data, source.feature_shape, trained.backbone
        ),
        shape=EpisodeShape(way, shot, query),
        episodes=episodes,
        seed=seed,
    )
    text: list[RenderableType] = []
    for check in result.checks:
        mark = "[green]passed[/]" if check.passed else "[bold red]failed[/]"
        text.append(f"{mark}  [bold]{check.name}[/]: {escape(check.reason)}")
    n_failed = sum(not check.passed for check in result.checks)
    verdict = f"{n_failed} of {len(result.checks)} checks failed." if n_failed else "no problems."
    text.append(
        f"{escape(trained.name)} on {escape(source.name)}, split {source.split} "
        f"(classes {source.split_hash}): {verdict}"
    )
    tested = {"data": source.name, "split": source.split, "split_hash": source.split_hash}
    checks = [dataclasses.asdict(check) for check in result.checks]
    summary = {"model": trained.name, **tested, "passed": result.passed, "checks": checks}
    return CommandResult(summary, text, exit_code=0 if result.passed else 1)
