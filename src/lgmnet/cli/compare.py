"""Command ``lgmnet compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Column, Table

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Data, Episodes, Force, Query, SaveFile, Seed, Shot, Split, Way
from lgmnet.cli.score_file import check_score_destination, write_scores
from lgmnet.cli.training_overlap import overlap_as_json, overlap_lines
from lgmnet.errors import ConfigError

if TYPE_CHECKING:
    from lgmnet.evaluation.compare import ComparisonRow


@command("Measure", example="[bold]lgmnet compare omniglot outputs/proto --way 20 --shot 1[/]")
def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Two or more models: names of shipped ones, or folders written by 'lgmnet train'.",
        ),
    ],
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shot: Shot = 1,
    query: Query = 15,
    episodes: Episodes = 1000,
    seed: Seed = 0,
    save: SaveFile = None,
    force: Force = False,
) -> CommandResult:
    """Score models on the same tasks, each with its paired difference to the first."""
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation.compare import compare as compare_methods
    from lgmnet.model.model import load_model
    from lgmnet.model.sources import check_unseen, open_unseen_source

    if len(models) < 2 or len(set(models)) < len(models):
        raise ConfigError(
            f"compare needs at least two different models, but got: {', '.join(models)}."
        )
    if save is not None:
        check_score_destination(save, overwrite=force)
    trained = {name: load_model(name) for name in models}
    shape = EpisodeShape(way, shot, query)
    source = open_unseen_source(list(trained.items()), data, split, shape)
    overlap = check_unseen(list(trained.items()), data, source)
    methods = {name: model.method for name, model in trained.items()}
    rows = compare_methods(methods, source, shape, episodes=episodes, seed=seed)
    first = rows[0].score
    names = ("data", "split", "split_hash", "way", "shot", "query", "episodes", "seed")
    result: dict[str, Any] = {name: getattr(first, name) for name in names}
    result["training_overlap"] = overlap_as_json(overlap)
    method_names = {name: model.method_name for name, model in trained.items()}
    row_data = [row_as_json(row, method_names[row.name]) for row in rows]
    if save is not None:
        scored = [{**d, "scores": row.score.scores} for d, row in zip(row_data, rows, strict=True)]
        write_scores(save, result, "rows", scored, overwrite=force)
    footer = (
        f"{first.task}, {escape(first.data)}, split {first.split} (classes {first.split_hash}); "
        f"the same {episodes} episodes for all models, {query} queries per class, seed {seed}"
    )
    text: list[RenderableType] = [row_table(rows, method_names), footer, *overlap_lines(overlap)]
    return CommandResult({**result, "rows": row_data}, text)


def row_as_json(row: ComparisonRow, method_name: str) -> dict[str, Any]:
    """Return one model's row as a JSON object, without the scores of the episodes."""
    result = {"model": row.name, "method": method_name}
    result |= {name: getattr(row.score, name) for name in ("protocol", "accuracy", "ci95")}
    return result | {k: v for k, v in vars(row).items() if k not in ("name", "score")}


def row_table(rows: list[ComparisonRow], method_names: dict[str, str]) -> Table:
    """Return the rows of all models as a table."""
    numbers = ("accuracy, %", "difference to first", "adapt, ms", "query, ms", "parameters")
    columns = [Column(name, justify="right") for name in numbers]
    table = Table("model", "method", *columns, "protocol")
    for row in rows:
        difference = f"{row.difference:+.2f} ± {row.difference_ci95:.2f}"
        table.add_row(
            escape(row.name),
            method_names[row.name],
            f"{row.score.accuracy:.2f} ± {row.score.ci95:.2f}",
            "" if row is rows[0] else difference,
            f"{row.adapt_ms:.1f}",
            f"{row.query_ms:.1f}",
            f"{row.parameters:,}",
            row.score.protocol,
        )
    return table
